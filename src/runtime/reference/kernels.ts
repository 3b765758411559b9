/** @file The kernel of every operation kind, in one table. */

import type { Node, OpKind } from '../../graph/ops.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { attentionKernels } from './attention.ts';
import { convolutionKernels } from './convolution.ts';
import { elementwiseKernels } from './elementwise.ts';
import type { Elements, Kernel, Kernels } from './kernel.ts';
import { linearAlgebraKernels } from './linear-algebra.ts';
import { movementKernels } from './movement.ts';
import { normKernels } from './norms.ts';

/** Kinds whose values are bound by name instead of computed. */
type BoundKind = 'input' | 'parameter' | 'variable';

const kernels: Kernels<Exclude<OpKind, BoundKind>> = {
  constant: ({ shape, attrs: { values } }, _, out) => {
    if (values.length === 1) out.fill(values[0]!, 0, sizeOf(shape));
    else out.set(values);
  },
  ...elementwiseKernels,
  ...linearAlgebraKernels,
  ...convolutionKernels,
  ...attentionKernels,
  ...normKernels,
  ...movementKernels,
};

/** Fills `out` with the value of a node that is not bound by name. */
export function runKernel(
  node: Exclude<Node, { op: BoundKind }>,
  inputs: readonly Elements[],
  out: Elements,
): void {
  // The table pairs each kind with its own inputs; TypeScript cannot follow that through a union.
  const kernel = kernels[node.op] as Kernel<never>;
  kernel(node as never, inputs as never, out);
}
