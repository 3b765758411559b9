/** @file A chain of elementwise operations on vectors of f32, as one kernel that is written for it. */

import type { Node } from '../../../graph/ops.ts';
import { sizeOf } from '../../../tensor/shape.ts';
import type { Launch } from './kernel.ts';
import { kernelSource } from './kernel-source.ts';

/** Threads of a block. */
const block = 256;
/** Blocks that fill a large GPU; each thread takes element after element. */
const mostBlocks = 2048;

type Write = (...inputs: string[]) => string;

/** How an operation is written, from what its inputs are called. */
const written: { readonly [op in string]?: Write } = {
  add: (a, b) => `${a} + ${b}`,
  sub: (a, b) => `${a} - ${b}`,
  mul: (a, b) => `${a} * ${b}`,
  div: (a, b) => `${a} / ${b}`,
  select: (condition, a, b) => `${condition} > 0.0f ? ${a} : ${b}`,
  sqrt: (x) => `sqrtf(${x})`,
  exp: (x) => `expf(${x})`,
  sigmoid: (x) => `1.0f / (1.0f + expf(-${x}))`,
};

/** What a chain may consist of. */
export const pointwiseOps: ReadonlySet<string> = new Set(Object.keys(written));

/** What one kernel computes, in order. */
interface PointwiseWork {
  /** Numbers, computed by each thread. */
  readonly scalars: readonly Node[];
  /** Vectors. */
  readonly members: readonly Node[];
  /** What is read, each a vector or a number. */
  readonly inputs: readonly Node[];
  readonly outputs: readonly Node[];
}

/** Whether a node is written as a number. */
export const isLiteral = (node: Node) => node.op === 'constant' && sizeOf(node.shape) === 1;

/** A float as it is written in C: `0.1` is `0.10000000149011612f`. */
function literal(value: number): string {
  const text = String(Math.fround(value));
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

/**
 * Parameters: the inputs and the outputs in order, all f32; the number of elements.
 * @param mayAlias whether an output may be one of the vectors that are read; false unless given
 */
export function pointwiseLaunch(
  { scalars, members, inputs, outputs }: PointwiseWork,
  { mayAlias = false } = {},
): Launch {
  const size = members[0]!.shape[0]!;
  const isVector = (node: Node) => node.shape.length === 1 && node.shape[0] === size;
  const names = new Map<Node, string>();
  const nameOf = (node: Node) =>
    node.op === 'constant' && isLiteral(node) ? literal(node.attrs.values[0]!) : names.get(node)!;
  const line = (node: Node, i: number, prefix: string) => {
    const text = written[node.op]!(...node.inputs.map(nameOf));
    names.set(node, `${prefix}${i}`);
    return `const float ${prefix}${i} = ${text};\n`;
  };
  for (const [i, node] of inputs.entries()) names.set(node, `x${i}`);
  const load = (wanted: boolean, at: string) =>
    inputs
      .map((node, i) => (isVector(node) === wanted ? `const float x${i} = in${i}[${at}];\n` : ''))
      .join('');
  const pointer = mayAlias ? '*' : '* __restrict__';
  const parameters = [
    ...inputs.map((_, i) => `const float${pointer} in${i}`),
    ...outputs.map((_, i) => `float${pointer} out${i}`),
    'int size',
  ];
  const numbers = load(false, '0') + scalars.map((node, i) => line(node, i, 's')).join('');
  const vectors = load(true, 'i') + members.map((node, i) => line(node, i, 'v')).join('');
  const stores = outputs.map((node, i) => `out${i}[i] = ${nameOf(node)};\n`).join('');
  const body = `
extern "C" __global__ void __launch_bounds__(${block}) pointwise(${parameters.join(', ')}) {
${numbers}
for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
${vectors}${stores}}
}
`;
  return {
    kernel: { entry: 'pointwise', source: kernelSource('f32', {}, body) },
    grid: [Math.min(mostBlocks, Math.ceil(size / block)), 1],
    block,
    scalars: [{ i32: size }],
    alignment: 4,
  };
}
