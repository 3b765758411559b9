/** @file Builds a graph: one method for each operation, shapes inferred and checked as it goes. */

import type { ComputeDType } from '../tensor/dtype.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type {
  AttentionAttrs,
  ConvAttrs,
  Graph,
  LeafKind,
  Node,
  NodeOf,
  OpKind,
  Ops,
} from './ops.ts';
import { inferShape } from './shape-rules.ts';
import { sortTopologically } from './sort-topologically.ts';

/** Makes nodes. Leaves of one name are one node; everything else is a new node each time. */
export class GraphBuilder {
  readonly #leaves = new Map<string, Node>();
  #nextId = 0;
  #segment: number | undefined;
  #segments = 0;

  /** A value fed at each run. */
  input(name: string, shape: Shape, dtype: ComputeDType = 'f32'): NodeOf<'input'> {
    return this.#leaf('input', name, { name }, shape, dtype);
  }

  /** A frozen weight, by its name in the checkpoint. */
  parameter(name: string, shape: Shape): NodeOf<'parameter'> {
    return this.#leaf('parameter', name, { name }, shape, 'f32');
  }

  /** A value kept between runs. */
  variable(name: string, shape: Shape): NodeOf<'variable'> {
    return this.#leaf('variable', name, { name }, shape, 'f32');
  }

  /** Fixed values: one for every element of `shape`, or as many as it has. */
  constant(values: number | readonly number[], shape: Shape = []): NodeOf<'constant'> {
    const list = typeof values === 'number' ? [values] : values;
    if (list.length !== 1 && list.length !== sizeOf(shape)) {
      throw new Error(`internal: ${list.length} values for a constant of shape [${shape}]`);
    }
    const name = `${shape}:${list.map((value) => (Object.is(value, -0) ? '-0' : value))}`;
    return this.#leaf('constant', name, { values: list }, shape, 'f32');
  }

  add(a: Node, b: Node): Node {
    return this.emit('add', [a, b], {});
  }
  sub(a: Node, b: Node): Node {
    return this.emit('sub', [a, b], {});
  }
  mul(a: Node, b: Node): Node {
    return this.emit('mul', [a, b], {});
  }
  div(a: Node, b: Node): Node {
    return this.emit('div', [a, b], {});
  }
  /** a where the condition [] is greater than 0, else b. */
  select(condition: Node, a: Node, b: Node): Node {
    return this.emit('select', [condition, a, b], {});
  }
  /** a·factor. */
  scale(a: Node, factor: number): Node {
    return factor === 1 ? a : this.mul(a, this.constant(factor));
  }
  square(a: Node): Node {
    return this.mul(a, a);
  }
  exp(x: Node): Node {
    return this.emit('exp', [x], {});
  }
  sqrt(x: Node): Node {
    return this.emit('sqrt', [x], {});
  }
  sigmoid(x: Node): Node {
    return this.emit('sigmoid', [x], {});
  }
  silu(x: Node): Node {
    return this.emit('silu', [x], {});
  }
  gelu(x: Node): Node {
    return this.emit('gelu', [x], {});
  }
  quickGelu(x: Node): Node {
    return this.emit('quickGelu', [x], {});
  }

  matmul(a: Node, b: Node, { transposeA = false, transposeB = false } = {}): Node {
    return this.emit('matmul', [a, b], { transposeA, transposeB });
  }
  /** x·Wᵀ + b for x [.., in] and W [out, in]. */
  linear(x: Node, weight: Node, bias?: Node): Node {
    return this.emit('linear', bias ? [x, weight, bias] : [x, weight], {});
  }
  /** `padding`: the same on all sides, or [top, left, bottom, right]. */
  conv2d(
    x: Node,
    weight: Node,
    bias?: Node,
    { stride = 1, padding = 0 as number | ConvAttrs['pads'] } = {},
  ): Node {
    const pads =
      typeof padding === 'number' ? ([padding, padding, padding, padding] as const) : padding;
    return this.emit('conv2d', bias ? [x, weight, bias] : [x, weight], { stride, pads });
  }
  attention(q: Node, k: Node, v: Node, attrs: AttentionAttrs): Node {
    return this.emit('attention', [q, k, v], attrs);
  }
  groupNorm(x: Node, scale: Node, bias: Node, groups: number, epsilon: number): Node {
    return this.emit('groupNorm', [x, scale, bias], { groups, epsilon });
  }
  layerNorm(x: Node, scale: Node, bias: Node, epsilon: number): Node {
    return this.emit('layerNorm', [x, scale, bias], { epsilon });
  }

  reshape(x: Node, shape: Shape): Node {
    return this.emit('reshape', [x], { shape });
  }
  transpose(x: Node, perm: Shape): Node {
    return this.emit('transpose', [x], { perm });
  }
  concat(inputs: readonly Node[], axis: number): Node {
    return inputs.length === 1 ? inputs[0]! : this.emit('concat', inputs, { axis });
  }
  /** Elements [start, end) along one axis. */
  sliceAxis(x: Node, axis: number, start: number, end: number): Node {
    const starts = x.shape.map((_, i) => (i === axis ? start : 0));
    return this.emit('slice', [x], { starts, ends: x.shape.with(axis, end) });
  }
  pad(x: Node, before: Shape, after: Shape): Node {
    return this.emit('pad', [x], { before, after });
  }
  expand(x: Node, shape: Shape): Node {
    return this.emit('expand', [x], { shape });
  }
  /** The sum over `axes`, kept with size 1. */
  sum(x: Node, axes: Shape): Node {
    return this.emit('sum', [x], { axes });
  }
  /** The mean over `axes`, kept with size 1. */
  mean(x: Node, axes: Shape): Node {
    const count = axes.reduce((n, axis) => n * x.shape[axis]!, 1);
    return this.scale(this.sum(x, axes), 1 / count);
  }
  upsampleNearest(x: Node, height: number, width: number): Node {
    return this.emit('upsampleNearest', [x], { height, width });
  }
  gather(table: Node, ids: Node): Node {
    return this.emit('gather', [table, ids], {});
  }
  barrier(x: Node, after: Node): Node {
    return this.emit('barrier', [x, after], {});
  }

  /** The sum of `x` over the dimensions that broadcasting from `shape` added or stretched. */
  sumTo(x: Node, shape: Shape): Node {
    const lead = x.shape.length - shape.length;
    const axes = x.shape.flatMap((d, i) =>
      i < lead || (shape[i - lead] === 1 && d !== 1) ? [i] : [],
    );
    const summed = axes.length > 0 ? this.sum(x, axes) : x;
    return lead > 0 ? this.reshape(summed, shape) : summed;
  }

  /** A node of any kind but a leaf; its shape follows from its inputs. */
  emit<K extends Exclude<OpKind, LeafKind>>(
    op: K,
    inputs: Ops[K]['inputs'],
    attrs: Ops[K]['attrs'],
  ): Node {
    const node: NodeOf<K> = {
      id: this.#nextId++,
      op,
      inputs,
      attrs,
      ...inferShape(op, inputs, attrs),
      ...(this.#segment === undefined ? {} : { segment: this.#segment }),
    };
    return node as unknown as Node;
  }

  /**
   * Marks what `make` builds as one segment of the forward pass: with checkpointing, only what
   * leaves the segment is kept for the backward pass, the rest is computed again.
   */
  segment<T>(make: () => T): T {
    if (this.#segment !== undefined) return make();
    this.#segment = this.#segments++;
    try {
      return make();
    } finally {
      this.#segment = undefined;
    }
  }

  /** The nodes that the outputs and updates need. */
  build(
    outputs: Readonly<Record<string, Node>>,
    updates: Readonly<Record<string, Node>> = {},
  ): Graph {
    return {
      nodes: sortTopologically([...Object.values(outputs), ...Object.values(updates)]),
      outputs: new Map(Object.entries(outputs)),
      updates: new Map(Object.entries(updates)),
    };
  }

  #leaf<K extends LeafKind>(
    op: K,
    name: string,
    attrs: Ops[K]['attrs'],
    shape: Shape,
    dtype: ComputeDType,
  ): NodeOf<K> {
    const key = `${op}:${name}`;
    const known = this.#leaves.get(key);
    if (known) {
      if (`${known.shape}` !== `${shape}` || known.dtype !== dtype) {
        const found = `${known.dtype}[${known.shape}]`;
        throw new Error(`internal: ${key} as ${found} and as ${dtype}[${shape}]`);
      }
      return known as unknown as NodeOf<K>;
    }
    const node: NodeOf<K> = { id: this.#nextId++, op, inputs: [], attrs, shape, dtype };
    this.#leaves.set(key, node as unknown as Node);
    return node;
  }
}
