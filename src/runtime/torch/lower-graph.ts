/** @file Turns a graph into ATen calls, in the graph's order. */

import {
  type Graph,
  isNamedLeaf,
  type LeafKind,
  type NamedLeaf,
  type Node,
  type OpKind,
} from '../../graph/ops.ts';
import { type FusedProducts, findFusedProducts } from '../../graph/passes/find-fused-products.ts';
import { type Shape, stridesOf } from '../../tensor/shape.ts';
import { type FusedKernels, findFusedKernels } from './find-fused-kernels.ts';
import { findPlacedResults, type PlacedResults } from './find-placed-results.ts';
import { findUpdatesInPlace, type UpdatesInPlace } from './find-updates-in-place.ts';
import { JoinedValues } from './joined-values.ts';
import { attentionRules } from './rules/attention.ts';
import { convolutionRules } from './rules/convolution.ts';
import { elementwiseRules } from './rules/elementwise.ts';
import { fusedValue, updateInPlace } from './rules/fused-kernels.ts';
import { linearAlgebraRules } from './rules/linear-algebra.ts';
import { isView, movementRules, viewOf } from './rules/movement.ts';
import { normRules } from './rules/norms.ts';
import type { LoweringContext, LoweringRule, LoweringRules, LoweringTarget } from './rules/rule.ts';
import {
  type Call,
  type Constant,
  whole as integer,
  none,
  TorchEmitter,
  tensor,
  type Value,
  withoutUnused,
} from './torch-emitter.ts';
import type { TorchDType } from './torch-library.ts';

const rules: LoweringRules<Exclude<OpKind, LeafKind>> = {
  ...elementwiseRules,
  ...linearAlgebraRules,
  ...convolutionRules,
  ...attentionRules,
  ...normRules,
  ...movementRules,
};

/** A value that is there before the first call. */
export interface LeafValue {
  readonly source: 'input' | 'parameter' | 'variable';
  readonly name: string;
  readonly shape: Shape;
  readonly value: Value;
  /** A variable that is not read, so that it needs no value before. */
  readonly written?: true;
}

/** A value that is there after the last call. */
export interface ResultValue {
  readonly name: string;
  readonly shape: Shape;
  readonly value: Value;
}

export interface LoweredGraph {
  readonly calls: readonly Call[];
  readonly constants: readonly Constant[];
  readonly leaves: readonly LeafValue[];
  /** Row-major, f32 or i32. */
  readonly outputs: readonly ResultValue[];
  /** Variables that get new values. */
  readonly updates: readonly string[];
  /** Number of values. */
  readonly size: number;
}

const isFloat = (dtype: TorchDType) => dtype === 'f32' || dtype === 'bf16' || dtype === 'f16';

/** A constant that is one number everywhere, in which every float type is the same. */
const isFilled = (node: Node) => node.op === 'constant' && node.attrs.values.length === 1;

/** A convolution without its bias. */
const unbiased = (node: Node): Node => ({ ...node, inputs: node.inputs.slice(0, 2) }) as Node;

class Lowering implements LoweringContext {
  readonly emitter = new TorchEmitter();
  readonly target: LoweringTarget;
  readonly codes: LoweringContext['codes'];
  readonly leaves: LeafValue[] = [];
  readonly #values = new Map<Node, Value>();
  readonly #fused: FusedProducts;
  readonly #kernels: FusedKernels;
  readonly #placed: PlacedResults;
  readonly #joined: JoinedValues;
  readonly #inPlace: UpdatesInPlace;

  constructor(graph: Graph, target: LoweringTarget, codes: LoweringContext['codes']) {
    this.target = target;
    this.codes = codes;
    this.#fused = target.addsProducts ? findFusedProducts(graph, { inPlace: true }) : nothingFused;
    this.#kernels = findFusedKernels(graph, target, this.#fused);
    this.#inPlace = findUpdatesInPlace(graph, this.#kernels);
    this.#placed = findPlacedResults(graph);
    this.#joined = new JoinedValues(this.emitter, this.#placed);
  }

  /** All nodes, in order but for those that wait for another one, and those that change variables. */
  lowerAll(nodes: readonly Node[]): void {
    const { delayed } = this.#kernels;
    const waiting = new Set([...delayed.values()].flat());
    for (const node of nodes) {
      if (waiting.has(node) || this.#inPlace.has(node)) continue;
      this.#lower(node);
      for (const each of delayed.get(node) ?? []) this.#lower(each);
    }
  }

  #lower(node: Node): void {
    // Constants are made in the type that they are wanted in.
    if (node.op === 'constant' || this.#fused.absorbed.has(node)) return;
    if (this.#kernels.absorbed.has(node)) return;
    if (this.#values.has(node) || this.#joined.isPassed(node)) return;
    const joined = this.#joined.finish(node, this.asIs);
    if (joined) {
      this.define(node, joined);
      return;
    }
    const kernel = this.#kernels.byNode.get(node);
    if (kernel) this.define(node, fusedValue(this, node, kernel));
    else if (this.#kernels.withoutBias.has(node))
      this.define(node, this.#apply(node.op, unbiased(node)));
    else this.define(node, isNamedLeaf(node) ? this.#leaf(node) : this.#apply(node.op, node));
  }

  define = (node: Node, value: Value): void => {
    this.#values.set(node, value);
  };

  asIs = (node: Node): Value => {
    if (node.op === 'constant') return this.asType(node, node.dtype);
    const value = this.#values.get(node);
    if (!value) throw new Error(`internal: %${node.id} ${node.op} is used before it is lowered`);
    return value;
  };

  asType = (node: Node, dtype: TorchDType): Value => {
    if (node.op === 'constant') return this.emitter.constant(node.attrs.values, node.shape, dtype);
    const value = this.asIs(node);
    if (value.dtype === dtype) return value;
    // All views of one variable are views of one copy in the other type.
    if (isView(node)) return viewOf(this.emitter, node, this.asType(node.inputs[0], dtype));
    return this.#cast(value, dtype);
  };

  asCompute = (node: Node): Value => this.asType(node, this.target.compute);

  alike = (nodes: readonly Node[]): Value[] => {
    const fixed = nodes.filter((node) => !isFilled(node) && isFloat(this.asIs(node).dtype));
    const types = new Set(fixed.map((node) => this.asIs(node).dtype));
    if (types.size === 0) return nodes.map(this.asIs);
    const [only] = types;
    const dtype = types.size === 1 ? only! : 'f32';
    const hasArray = nodes.some((node) => node.shape.length > 0);
    return nodes.map((node) => {
      // ATen lets a scalar take an array's type, in which it is not rounded first.
      if (hasArray && isFilled(node) && node.shape.length === 0) return this.asIs(node);
      return this.asType(node, dtype);
    });
  };

  fusedProduct = (node: Node) => this.#fused.byAddition.get(node);

  orderOf = (node: Node): Shape | undefined => {
    const perm = this.#placed.transposed.get(node);
    if (!perm) return undefined;
    const strides = stridesOf(perm.map((axis) => node.shape[axis]!));
    return node.shape.map((_, axis) => strides[perm.indexOf(axis)]!);
  };

  writeJoined: LoweringContext['writeJoined'] = (...write) => this.#joined.write(...write);

  /** A row-major value for the host: f32 or i32. */
  fetched(node: Node): Value {
    const { dtype } = node;
    const { contiguous } = this.codes.memoryFormats;
    const args = [tensor(this.#apart(node)), integer(contiguous)];
    return this.emitter.emit('contiguous', args, { dtype });
  }

  /** Moves variables to their new values, once all values are computed. */
  update(updates: ReadonlyMap<string, Node>): void {
    const chains = [...this.#inPlace.values()];
    const inPlace = new Set(chains.flatMap(({ variables }) => variables));
    const moves = [...updates]
      .filter(([name]) => !inPlace.has(name))
      .map(([name, node]) => ({
        from: this.#apart(node),
        to: this.#variable(name, node.shape),
      }));
    for (const { chain, variables } of chains) {
      const over = variables.map((name, i) => this.#variable(name, chain.outputs[i]!.shape));
      updateInPlace(this, chain, over);
    }
    for (const { from, to } of moves) this.emitter.copy(from, to);
  }

  /** A value in its node's type that does not change with the variables. */
  #apart(node: Node): Value {
    const value = this.asType(node, node.dtype);
    let source = node;
    while (isView(source) || source.op === 'barrier') source = source.inputs[0];
    if (source.op !== 'variable') return value;
    return this.emitter.emit('clone', [tensor(value), none], { dtype: value.dtype });
  }

  #variable(name: string, shape: Shape): Value {
    const known = this.leaves.find((leaf) => leaf.source === 'variable' && leaf.name === name);
    if (known) return known.value;
    const value = this.emitter.leaf('f32');
    this.leaves.push({ source: 'variable', name, shape, value, written: true });
    return value;
  }

  #cast(value: Value, dtype: TorchDType): Value {
    const code = integer(this.codes.dtypeCodes[dtype]);
    const args = [tensor(value), code, integer(0), integer(0), none];
    return this.emitter.emit('to', args, { overload: 'dtype', dtype });
  }

  #leaf({ op: source, attrs: { name }, shape, dtype }: NamedLeaf): Value {
    const value = this.emitter.leaf(source === 'parameter' ? this.target.compute : dtype);
    this.leaves.push({ source, name, shape, value });
    return value;
  }

  #apply<K extends OpKind>(op: K, node: Node): Value {
    const rule = rules[op as Exclude<OpKind, LeafKind>] as unknown as LoweringRule<K>;
    return rule(this, node as unknown as Parameters<LoweringRule<K>>[1]);
  }
}

const nothingFused: FusedProducts = { byAddition: new Map(), absorbed: new Set() };

/** Lowers a graph whose nodes are in the order in which they are to be computed. */
export function lowerGraph(
  graph: Graph,
  target: LoweringTarget,
  codes: LoweringContext['codes'],
): LoweredGraph {
  const lowering = new Lowering(graph, target, codes);
  lowering.lowerAll(graph.nodes);
  const outputs = Array.from(graph.outputs, ([name, node]) => ({
    name,
    shape: node.shape,
    value: lowering.fetched(node),
  }));
  lowering.update(graph.updates);
  const { constants, size } = lowering.emitter;
  const calls = withoutUnused(
    lowering.emitter.calls,
    outputs.map(({ value }) => value),
  );
  const updates = [...graph.updates.keys()];
  return { calls, constants, leaves: lowering.leaves, outputs, updates, size };
}
