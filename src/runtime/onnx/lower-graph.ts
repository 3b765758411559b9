/** @file Turns a graph into an ONNX model whose nodes run in an order that frees memory early. */

import {
  type Graph,
  isNamedLeaf,
  type LeafKind,
  type NamedLeaf,
  type Node,
  type OpKind,
} from '../../graph/ops.ts';
import {
  arrangedShape,
  type KernelLayout,
  type KernelShape,
  layoutName,
} from './arrange-kernel.ts';
import { findFusedProducts } from './find-fused-products.ts';
import { OnnxEmitter, type ValueName } from './onnx-emitter.ts';
import type { OnnxModel, OnnxValue } from './onnx-proto.ts';
import { attentionRules } from './rules/attention.ts';
import { convolutionRules } from './rules/convolution.ts';
import { elementwiseRules } from './rules/elementwise.ts';
import { linearAlgebraRules } from './rules/linear-algebra.ts';
import { movementRules } from './rules/movement.ts';
import { normRules } from './rules/norms.ts';
import type { LoweringContext, LoweringRule, LoweringRules } from './rules/rule.ts';

const rules: LoweringRules<Exclude<OpKind, LeafKind>> = {
  ...elementwiseRules,
  ...linearAlgebraRules,
  ...convolutionRules,
  ...attentionRules,
  ...normRules,
  ...movementRules,
};

/** An input of the model: what is to be fed under which name. */
export interface ModelInput extends OnnxValue {
  readonly source: 'input' | 'parameter' | 'variable';
  /** Name of the input, parameter or variable. */
  readonly key: string;
  /** Where a parameter is fed in another layout than its own. */
  readonly kernel?: { readonly shape: KernelShape; readonly layout: KernelLayout };
}

export interface LoweredGraph {
  readonly model: OnnxModel;
  readonly inputs: readonly ModelInput[];
}

/** Prefix of a variable's new value among the model's outputs. */
export const updatePrefix = 'update/';
/** Prefix of a fetched value. */
export const outputPrefix = 'output/';

/** A concatenation of at least this many vectors gathers the gradients of a whole group. */
const collectedVectors = 8;

/**
 * ONNX Runtime runs nodes depth first from the last leaf, and before a node its last-listed
 * producers (onnxruntime/core/graph/graph_viewer.cc), so a gradient that is only gathered at the end
 * would be computed at the end, with everything it needs kept until then. Listing one collector for
 * each gathered value at the end of the file, the first wanted last, makes it run them as they come.
 */
function splitTail(graph: Graph): { body: Node[]; tail: Node[]; collected: Node[] } {
  const late = new Set<Node>();
  const collected: Node[] = [];
  for (const node of graph.nodes) {
    const gathers =
      node.op === 'concat' && node.shape.length === 1 && node.inputs.length >= collectedVectors;
    if (gathers) collected.push(...node.inputs.filter((input) => !late.has(input)));
    if (gathers || node.inputs.some((input) => late.has(input))) late.add(node);
  }
  return {
    body: graph.nodes.filter((node) => !late.has(node)),
    tail: graph.nodes.filter((node) => late.has(node)),
    collected: [...new Set(collected)].sort((a, b) => b.id - a.id),
  };
}

export interface LoweringOptions {
  /** Frozen convolution kernels are fed in the layouts that run fastest. */
  readonly flipWeights: boolean;
  /** Channels of a block of blocked convolutions; 1 does without them. */
  readonly convBlock?: number;
  /** Products with transposed sides are one operation; true unless given. */
  readonly fusesProducts?: boolean;
}

export function lowerGraph(
  graph: Graph,
  { flipWeights, convBlock = 1, fusesProducts = true }: LoweringOptions,
): LoweredGraph {
  const emitter = new OnnxEmitter({ fusesProducts });
  const inputs = new Map<string, ModelInput>();
  const names = new Map<Node, ValueName>();
  const { byAddition, absorbed } = findFusedProducts(graph);

  const addInput = (input: ModelInput): ValueName => {
    inputs.set(input.name, input);
    return input.name;
  };
  /** Only what some operation reads is fed: a kernel may be read in other layouts alone. */
  const lowerLeaf = (node: NamedLeaf): ValueName => {
    const { name: key } = node.attrs;
    const { shape, dtype: type, op: source } = node;
    const name = addInput({ name: `${source}/${key}`, type, shape, source, key });
    names.set(node as Node, name);
    return name;
  };
  const context: LoweringContext = {
    emitter,
    nameOf: (node) => {
      const name = names.get(node) ?? (isNamedLeaf(node) ? lowerLeaf(node) : undefined);
      if (name === undefined)
        throw new Error(`internal: %${node.id} ${node.op} is used before it is lowered`);
      return name;
    },
    convBlock,
    arrangedKernel: (node, layout) => {
      if (!flipWeights || node.op !== 'parameter') return undefined;
      const kernelShape = node.shape as KernelShape;
      const { name: key } = node.attrs;
      return addInput({
        name: `${layoutName(layout)}/${key}`,
        type: 'f32',
        shape: arrangedShape(kernelShape, layout),
        source: 'parameter',
        key,
        kernel: { shape: kernelShape, layout },
      });
    },
    fusedProduct: (node) => byAddition.get(node),
  };
  const lowerNode = (node: Node): void => {
    if (absorbed.has(node) || isNamedLeaf(node)) return;
    names.set(node, lowerAny(node, context));
  };

  const { body, tail, collected } = splitTail(graph);
  body.forEach(lowerNode);
  for (const node of collected) {
    const name = context.nameOf(node);
    names.set(node, emitter.emit('Identity', [name]));
  }
  const results = [
    ...[...graph.outputs].map(([name, node]) => [outputPrefix + name, node] as const),
    ...[...graph.updates].map(([name, node]) => [updatePrefix + name, node] as const),
  ];
  const late = new Set(tail);
  for (const [name, node] of results)
    if (!late.has(node)) emitter.result(name, context.nameOf(node));
  tail.forEach(lowerNode);
  // The group whose gradients come first in the backward pass is listed last.
  for (const [name, node] of results.reverse()) {
    if (late.has(node)) emitter.result(name, context.nameOf(node));
  }
  const model: OnnxModel = {
    nodes: emitter.nodes,
    initializers: emitter.initializers,
    inputs: [...inputs.values()],
    outputs: results.map(([name, node]) => ({ name, type: node.dtype, shape: node.shape })),
  };
  return { model, inputs: [...inputs.values()] };
}

function lowerAny(node: Node, context: LoweringContext): ValueName {
  if (node.op === 'constant') {
    const { values } = node.attrs;
    if (values.length === 1 && node.shape.length > 0) {
      const one = context.emitter.float(values[0]!);
      return context.emitter.emit('Expand', [one, context.emitter.integers(node.shape)]);
    }
    return context.emitter.floats(values, node.shape);
  }
  if (isNamedLeaf(node)) return context.nameOf(node);
  return lower(node.op, node, context);
}

function lower<K extends Exclude<OpKind, LeafKind>>(
  op: K,
  node: Node,
  context: LoweringContext,
): ValueName {
  const rule: LoweringRule<K> = rules[op];
  return rule(context, node as unknown as Parameters<LoweringRule<K>>[1]);
}
