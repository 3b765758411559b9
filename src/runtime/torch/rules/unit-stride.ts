/** @file Whether the last dimension of a value surely lies element by element, as kernels of attention want it. */

import type { Node } from '../../../graph/ops.ts';
import { isView } from './movement.ts';

/** False where it may not: a transposition changes the order, and what is elementwise keeps it. */
export function hasUnitStride(node: Node): boolean {
  switch (node.op) {
    case 'parameter':
      // Kernels of convolutions may have their channels innermost.
      return node.shape.length !== 4;
    case 'input':
    case 'variable':
    case 'linear':
    case 'layerNorm':
      return true;
    case 'matmul':
      // A batch times a matrix may be computed transposed (aten/src/ATen/native/LinearAlgebra.cpp).
      return node.inputs[0].shape.length === node.inputs[1].shape.length;
    case 'transpose':
      return node.attrs.perm.at(-1) === node.shape.length - 1 && hasUnitStride(node.inputs[0]);
    case 'add':
    case 'sub':
    case 'mul':
      return node.inputs.every((x) => x.shape.length === 0 || isLike(x, node));
    default:
      return isView(node) && node.op !== 'expand' && hasUnitStride(node.inputs[0]);
  }
}

const isLike = (x: Node, { shape }: Node) => `${x.shape}` === `${shape}` && hasUnitStride(x);
