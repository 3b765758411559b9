/** @file The shape of each value of an ONNX model, for the operations that lowered graphs are made of. */

import { broadcastShapes, type Shape, sizeOf } from '../../../tensor/shape.ts';
import type { OnnxModel, OnnxNode } from '../onnx-proto.ts';

/** What a rule sees of a node. */
interface Seen {
  readonly node: OnnxNode;
  readonly shapes: readonly Shape[];
  /** The whole numbers of an input that is an initializer. */
  readonly integers: (input: number) => readonly number[];
}

type Rule = (seen: Seen) => Shape;

function broadcastOf(a: Shape, b: Shape): Shape {
  const shape = broadcastShapes(a, b);
  if (!shape) throw new Error(`internal: [${a}] and [${b}] do not go together`);
  return shape;
}

const listOf = ({ attributes }: OnnxNode, name: string) => attributes[name] as readonly number[];

const first: Rule = ({ shapes }) => shapes[0]!;
const broadcast: Rule = ({ shapes }) => broadcastOf(shapes[0]!, shapes[1]!);

const reshape: Rule = ({ shapes: [x], integers }) => {
  const target = integers(1);
  const known = target.reduce((n, d) => (d < 0 ? n : n * d), 1);
  return target.map((d) => (d < 0 ? sizeOf(x!) / known : d));
};

/** numpy's matmul, with either side transposed first. */
const product: Rule = ({ node: { attributes }, shapes: [a, b] }) => {
  const rows = attributes['transA'] ? a!.at(-1)! : a!.at(-2)!;
  const columns = attributes['transB'] ? b!.at(-2)! : b!.at(-1)!;
  return [...broadcastOf(a!.slice(0, -2), b!.slice(0, -2)), rows, columns];
};

const reduce: Rule = ({ node, shapes: [x], integers }) => {
  const axes = node.inputs.length > 1 ? integers(1) : (listOf(node, 'axes') ?? x!.map((_, i) => i));
  const reduced = new Set(axes.map((axis) => (axis < 0 ? axis + x!.length : axis)));
  const kept = x!.map((d, i) => (reduced.has(i) ? 1 : d));
  return node.attributes['keepdims'] === 0 ? kept.filter((_, i) => !reduced.has(i)) : kept;
};

const slice: Rule = ({ node, shapes: [x], integers }) => {
  const out = [...x!];
  const [starts, ends] = [integers(1), integers(2)];
  const axes = node.inputs.length > 3 ? integers(3) : starts.map((_, i) => i);
  const steps = node.inputs.length > 4 ? integers(4) : axes.map(() => 1);
  for (const [i, axis] of axes.entries()) {
    const size = x![axis]!;
    const step = steps[i]!;
    // Slices backwards are of the whole axis.
    const span = step < 0 ? size : Math.min(ends[i]!, size) - starts[i]!;
    out[axis] = Math.ceil(span / Math.abs(step));
  }
  return out;
};

const concat: Rule = ({ node, shapes }) => {
  const axis = node.attributes['axis'] as number;
  const out = [...shapes[0]!];
  out[axis] = shapes.reduce((sum, shape) => sum + shape[axis]!, 0);
  return out;
};

const gather: Rule = ({ node, shapes: [x, indices] }) => {
  const axis = (node.attributes['axis'] ?? 0) as number;
  return [...x!.slice(0, axis), ...indices!, ...x!.slice(axis + 1)];
};

const convolution: Rule = ({ node, shapes: [x, w] }) => {
  const [pads, strides] = [listOf(node, 'pads'), listOf(node, 'strides')];
  // Both dimensions of space, which have pads at their start and, two further on, at their end.
  const side = (i: 0 | 1) =>
    Math.floor((x![2 + i]! + pads[i]! + pads[i + 2]! - w![2 + i]!) / strides[i]!) + 1;
  return [x![0]!, w![0]!, side(0), side(1)];
};

const transposedConvolution: Rule = ({ node, shapes: [x, w] }) => {
  const [pads, strides] = [listOf(node, 'pads'), listOf(node, 'strides')];
  const rest = listOf(node, 'output_padding');
  const side = (i: 0 | 1) =>
    (x![2 + i]! - 1) * strides[i]! + w![2 + i]! - pads[i]! - pads[i + 2]! + rest[i]!;
  return [x![0]!, w![1]!, side(0), side(1)];
};

const rules: Readonly<Record<string, Rule>> = {
  Add: broadcast,
  Sub: broadcast,
  Mul: broadcast,
  Div: broadcast,
  BitCast: first,
  Greater: broadcast,
  Where: ({ shapes: [condition, a, b] }) => broadcastOf(condition!, broadcastOf(a!, b!)),
  Cast: first,
  Concat: concat,
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  Erf: first,
  Exp: first,
  Expand: ({ shapes: [x], integers }) => broadcastOf(x!, integers(1)),
  FusedMatMul: product,
  Gather: gather,
  Gelu: first,
  Gemm: product,
  Identity: first,
  LayerNormalization: first,
  MatMul: product,
  MultiHeadAttention: first,
  Pad: ({ shapes: [x], integers }) => {
    const pads = integers(1);
    return x!.map((d, i) => d + pads[i]! + pads[i + x!.length]!);
  },
  QuickGelu: first,
  ReduceMean: reduce,
  ReduceSum: reduce,
  ReorderInput: first,
  ReorderOutput: ({ node, shapes: [x] }) => [
    x![0]!,
    node.attributes['channels'] as number,
    ...x!.slice(2),
  ],
  Reshape: reshape,
  ScatterND: first,
  Sigmoid: first,
  Slice: slice,
  Softmax: first,
  Sqrt: first,
  Transpose: ({ node, shapes: [x] }) => listOf(node, 'perm').map((axis) => x![axis]!),
};

/** Results after the first: what a norm's rows are scaled by. */
function otherResult({ opType }: OnnxNode, x: Shape): Shape {
  if (opType !== 'LayerNormalization') throw new Error(`internal: ${opType} has several results`);
  return [...x.slice(0, -1), 1];
}

/** The shape of every value, by name. @throws Error for an operation that no lowering rule emits */
export function inferShapes(model: OnnxModel): Map<string, Shape> {
  const shapes = new Map<string, Shape>();
  for (const { name, shape } of [...model.inputs, ...model.initializers]) shapes.set(name, shape);
  const bytesOf = new Map(model.initializers.map(({ name, bytes }) => [name, bytes]));
  for (const node of model.nodes) {
    const rule = rules[node.opType];
    if (!rule) throw new Error(`internal: no shape is known of ${node.opType}`);
    const inputs = node.inputs.map((name) => shapes.get(name)!);
    const integers = (input: number) => {
      const { buffer, byteOffset, length } = bytesOf.get(node.inputs[input]!)!;
      return Array.from(new BigInt64Array(buffer, byteOffset, length / 8), Number);
    };
    shapes.set(node.outputs[0]!, rule({ node, shapes: inputs, integers }));
    for (const name of node.outputs.slice(1)) shapes.set(name, otherResult(node, inputs[0]!));
  }
  return shapes;
}
