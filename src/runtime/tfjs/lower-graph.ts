/** @file Turns a graph into steps of TensorFlow.js, in the graph's order. */

import {
  type Graph,
  isNamedLeaf,
  type LeafKind,
  type NamedLeaf,
  type Node,
  type OpKind,
} from '../../graph/ops.ts';
import type { ComputeDType } from '../../tensor/dtype.ts';
import { type Shape, sameShape } from '../../tensor/shape.ts';
import { arrange } from './arrange.ts';
import { attentionRules } from './rules/attention.ts';
import { convolutionRules } from './rules/convolution.ts';
import { elementwiseRules } from './rules/elementwise.ts';
import { linearAlgebraRules } from './rules/linear-algebra.ts';
import { movementRules } from './rules/movement.ts';
import { normRules } from './rules/norms.ts';
import type {
  Arrangement,
  LoweringContext,
  LoweringRule,
  LoweringRules,
  LoweringTarget,
} from './rules/rule.ts';
import { type Constant, type Step, TfjsEmitter, type Value } from './tfjs-emitter.ts';

const rules: LoweringRules<Exclude<OpKind, LeafKind>> = {
  ...elementwiseRules,
  ...linearAlgebraRules,
  ...convolutionRules,
  ...attentionRules,
  ...normRules,
  ...movementRules,
};

/** A value that is there before the first step. */
export interface LeafValue {
  readonly source: 'input' | 'parameter' | 'variable';
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: ComputeDType;
  /** Of parameters. */
  readonly arrangement: Arrangement;
  readonly value: Value;
}

/** A value that is there after the last step. */
export interface ResultValue {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: ComputeDType;
  readonly value: Value;
}

export interface LoweredGraph {
  readonly steps: readonly Step[];
  readonly constants: readonly Constant[];
  readonly leaves: readonly LeafValue[];
  readonly outputs: readonly ResultValue[];
  /** New values of variables. */
  readonly updates: readonly ResultValue[];
  /** Number of values. */
  readonly size: number;
}

class Lowering implements LoweringContext {
  readonly emitter = new TfjsEmitter();
  readonly target: LoweringTarget;
  readonly leaves = new Map<string, LeafValue>();
  readonly #values = new Map<Node, Value>();

  constructor(target: LoweringTarget) {
    this.target = target;
  }

  lower(node: Node): void {
    // Leaves are made in the arrangement that they are wanted in.
    if (isNamedLeaf(node) || node.op === 'constant') return;
    this.#values.set(node, this.#apply(node.op, node));
  }

  asIs = (node: Node): Value => {
    const value = this.#value(node);
    if (value.layout === 'plain') return value;
    return this.emitter.emit('toPlain', [value], (tf, [x]) => tf.transpose(x!, [0, 3, 1, 2]));
  };

  asImage = (node: Node): Value => {
    const value = this.#value(node);
    if (value.layout === 'image') return value;
    return this.emitter.emit('toImage', [value], (tf, [x]) => tf.transpose(x!, [0, 2, 3, 1]), {
      layout: 'image',
    });
  };

  alike = (nodes: readonly Node[]): Value[] => {
    const [first] = nodes;
    const areImages =
      nodes.some((node) => this.#value(node).layout === 'image') &&
      nodes.every((node) => sameShape(node.shape, first!.shape));
    return nodes.map(areImages ? this.asImage : this.asIs);
  };

  arranged = (node: Node, arrangement: Arrangement): Value => {
    if (node.op === 'parameter') return this.#leaf(node, arrangement);
    return this.emitter.emit(
      'arrange',
      [this.asIs(node)],
      (tf, [x]) => arrange(tf, x!, arrangement),
      {
        attrs: arrangement,
      },
    );
  };

  results(nodes: ReadonlyMap<string, Node>): ResultValue[] {
    return Array.from(nodes, ([name, node]) => {
      const { shape, dtype } = node;
      return { name, shape, dtype, value: this.asIs(node) };
    });
  }

  #value(node: Node): Value {
    if (isNamedLeaf(node)) return this.#leaf(node, 'asIs');
    if (node.op === 'constant') return this.#constant(node.attrs.values, node.shape);
    const value = this.#values.get(node);
    if (!value) throw new Error(`internal: %${node.id} ${node.op} is used before it is lowered`);
    return value;
  }

  #constant(values: readonly number[], shape: Shape): Value {
    const [number] = values;
    if (values.length > 1 || shape.length === 0) return this.emitter.constant(values, shape);
    const fill: Step['compute'] = (tf) => tf.fill([...shape], number!);
    return this.emitter.emit('fill', [], fill, { attrs: [shape, `${number}`] });
  }

  #leaf({ op: source, attrs: { name }, shape, dtype }: NamedLeaf, arrangement: Arrangement): Value {
    const key = `${source} ${arrangement} ${name}`;
    const known = this.leaves.get(key);
    if (known) return known.value;
    const value = this.emitter.leaf();
    this.leaves.set(key, { source, name, shape, dtype, arrangement, value });
    return value;
  }

  #apply<K extends OpKind>(op: K, node: Node): Value {
    const rule = rules[op as Exclude<OpKind, LeafKind>] as unknown as LoweringRule<K>;
    return rule(this, node as unknown as Parameters<LoweringRule<K>>[1]);
  }
}

/** Lowers a graph whose nodes are in the order in which they are to be computed. */
export function lowerGraph(graph: Graph, target: LoweringTarget): LoweredGraph {
  const lowering = new Lowering(target);
  for (const node of graph.nodes) lowering.lower(node);
  const outputs = lowering.results(graph.outputs);
  const updates = lowering.results(graph.updates);
  const { steps, constants, size } = lowering.emitter;
  const leaves = [...lowering.leaves.values()];
  return { steps, constants, leaves, outputs, updates, size };
}
