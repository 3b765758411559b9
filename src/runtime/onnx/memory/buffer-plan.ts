/**
 * @file Which values of a model share a buffer, as ONNX Runtime plans it
 * (onnxruntime/core/framework/allocation_planner.cc): views, results in place of an input that is not
 * read again, and buffers of the same shape that are read no more.
 */

import type { Shape } from '../../../tensor/shape.ts';
import type { OnnxModel, OnnxNode } from '../onnx-proto.ts';

/** Operations that give their first input's bytes. */
const views: ReadonlySet<string> = new Set(['Reshape', 'Identity']);

/** Inputs that a result of the same shape may take the place of. */
const inPlace: Readonly<Record<string, readonly number[]>> = {
  Add: [0, 1],
  Sub: [0, 1],
  Mul: [0, 1],
  Div: [0, 1],
  Erf: [0],
  Exp: [0],
  QuickGelu: [0],
  ScatterND: [0],
  Sigmoid: [0],
  Softmax: [0],
  Sqrt: [0],
};

export interface BufferPlan {
  /** By value: the value whose buffer it has; a value that is not here has none in the arena. */
  readonly ownerOf: ReadonlyMap<string, string>;
  /** By the place of a node in the order: the buffers that are given back after it. */
  readonly freedAfter: readonly (readonly string[])[];
}

/** Plans the buffers of nodes that run in `order`. */
export function planBuffers(
  { inputs, initializers, outputs }: OnnxModel,
  order: readonly OnnxNode[],
  shapes: ReadonlyMap<string, Shape>,
): BufferPlan {
  const outside = new Set([...inputs, ...initializers, ...outputs].map(({ name }) => name));
  const uses = new Map<string, number>();
  const count = (name: string, by: number) => {
    const left = (uses.get(name) ?? 0) + by;
    uses.set(name, left);
    return left;
  };
  for (const node of order) for (const name of node.inputs) count(name, 1);
  // What is fed is never free, nor what is fetched.
  for (const name of outside) count(name, 1);

  const ownerOf = new Map<string, string>();
  const lastPlace = new Map<string, number>();
  const free: string[] = [];
  const rootOf = (name: string) => ownerOf.get(name) ?? name;
  const reuse = (owner: string, name: string) => {
    count(owner, uses.get(name) ?? 0);
    ownerOf.set(name, owner);
  };
  const inputToReplace = (node: OnnxNode, shape: Shape): string | undefined => {
    if (views.has(node.opType)) return rootOf(node.inputs[0]!);
    const place = (inPlace[node.opType] ?? []).find(
      (i) =>
        uses.get(rootOf(node.inputs[i]!)) === 1 && `${shapes.get(node.inputs[i]!)}` === `${shape}`,
    );
    return place === undefined ? undefined : rootOf(node.inputs[place]!);
  };
  const open = new Set(inputs.filter(({ isOpen }) => isOpen).map(({ name }) => name));
  for (const { inputs: read, outputs: made, opType } of order) {
    if (opType !== 'Reshape' && open.has(read[0]!)) for (const name of made) open.add(name);
  }
  const shapeText = (name: string) => (open.has(name) ? name : `${shapes.get(name)}`);
  for (const [place, node] of order.entries()) {
    for (const [i, name] of node.outputs.entries()) {
      if (outside.has(name)) continue;
      const replaced = i === 0 ? inputToReplace(node, shapes.get(name)!) : undefined;
      if (replaced !== undefined) {
        reuse(replaced, name);
        continue;
      }
      const found = free.findIndex((other) => shapeText(other) === shapeText(name));
      if (found >= 0) reuse(free.splice(found, 1)[0]!, name);
      else ownerOf.set(name, name);
    }
    for (const name of [...node.inputs, ...node.outputs]) {
      const root = rootOf(name);
      if (!outside.has(root)) lastPlace.set(root, place);
    }
    for (const name of node.inputs) {
      const root = rootOf(name);
      if (count(root, -1) === 0 && !outside.has(root) && !open.has(root)) free.unshift(root);
    }
    for (const name of node.outputs) {
      if (!outside.has(name) && (uses.get(rootOf(name)) ?? 0) === 0) free.unshift(rootOf(name));
    }
  }
  const freedAfter: string[][] = order.map(() => []);
  for (const [name, place] of lastPlace) freedAfter[place]!.push(name);
  return { ownerOf, freedAfter };
}
