/** @file Turns a graph into an ONNX model whose nodes run in an order that frees memory early. */

import {
  type Graph,
  isNamedLeaf,
  type LeafKind,
  type NamedLeaf,
  type Node,
  type NodeOf,
  type OpKind,
} from '../../graph/ops.ts';
import { findFusedProducts } from '../../graph/passes/find-fused-products.ts';
import type { HalfType } from '../../tensor/half.ts';
import { sizeOf } from '../../tensor/shape.ts';
import {
  arrangedShape,
  type KernelLayout,
  type KernelShape,
  layoutName,
} from './arrange-kernel.ts';
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
  /** The type of a weight that is to be fed as it is stored. */
  readonly halfTypeOf?: (name: string) => HalfType | undefined;
  /** Products with transposed sides are one operation; true unless given. */
  readonly fusesProducts?: boolean;
}

/** Weights of fewer elements are fed as floats: biases and norms, of which there are many. */
const leastHalfElements = 4096;

export function lowerGraph(
  graph: Graph,
  { flipWeights, convBlock = 1, halfTypeOf, fusesProducts = true }: LoweringOptions,
): LoweredGraph {
  const emitter = new OnnxEmitter({ fusesProducts });
  const inputs = new Map<string, ModelInput>();
  const names = new Map<Node, ValueName>();
  const { byAddition, absorbed } = findFusedProducts(graph);

  const wanted = new Map<string, NodeOf<'attentionGrad'>['attrs']['wrt'][]>();
  for (const node of graph.nodes) {
    if (node.op !== 'attentionGrad') continue;
    const key = node.inputs.map(({ id }) => id).join();
    wanted.set(key, [...(wanted.get(key) ?? []), node.attrs.wrt]);
  }

  const addInput = (input: ModelInput): ValueName => {
    inputs.set(input.name, input);
    return input.name;
  };
  // The rows that a table is asked for are few.
  const tables = new Set(graph.nodes.filter(({ op }) => op === 'gather').map((x) => x.inputs[0]!));
  /** Widened anew for each node, so that floats are not kept from the forward to the backward pass. */
  let widened = new Map<Node, ValueName>();
  const lowerHalf = (node: NodeOf<'parameter'>, half: HalfType): ValueName => {
    const { name: key } = node.attrs;
    const { shape, op: source } = node;
    const type = half === 'f16' ? 'f16' : 'i16';
    // ONNX Runtime keeps a buffer for the next value of its shape, and weights of a shape come up again and
    // again: without a shape, it is given back.
    const flat = { shape: [sizeOf(shape)], isOpen: true };
    const name = addInput({ name: `half/${key}`, type, ...flat, source, key });
    const value = emitter.widen(name, half, shape);
    widened.set(node as Node, value);
    return value;
  };
  const halfOf = (node: Node): HalfType | undefined =>
    node.op === 'parameter' && sizeOf(node.shape) >= leastHalfElements && !tables.has(node)
      ? halfTypeOf?.(node.attrs.name)
      : undefined;
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
      const half = halfOf(node);
      if (half) return widened.get(node) ?? lowerHalf(node as NodeOf<'parameter'>, half);
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
    wantedGradients: ({ inputs }) => wanted.get(inputs.map(({ id }) => id).join()) ?? [],
    fusedProduct: (node) => byAddition.get(node),
  };
  const lowerNode = (node: Node): void => {
    if (absorbed.has(node) || isNamedLeaf(node)) return;
    widened = new Map();
    names.set(node, lowerAny(node, context));
  };

  const { body, tail, collected } = splitTail(graph);
  body.forEach(lowerNode);
  for (const node of collected) {
    const name = context.nameOf(node);
    names.set(node, emitter.emit('Identity', [name]));
  }
  const outputs = [...graph.outputs].map(([name, node]) => [outputPrefix + name, node] as const);
  const updates = [...graph.updates].map(([name, node]) => [updatePrefix + name, node] as const);
  const results = [...outputs, ...updates];
  const late = new Set(tail);
  for (const [name, node] of results)
    if (!late.has(node)) emitter.result(name, context.nameOf(node));
  tail.forEach(lowerNode);
  // The group whose gradients come first in the backward pass is listed last; what is made of all groups,
  // as the norm is, before them, since it would ask for the last group first.
  for (const [name, node] of [...outputs, ...updates.reverse()]) {
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
