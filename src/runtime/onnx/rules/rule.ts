/** @file What the lowering rule of an operation gets and gives. */

import type { Node, NodeOf, OpKind } from '../../../graph/ops.ts';
import type { FusedProduct } from '../../../graph/passes/find-fused-products.ts';
import type { KernelLayout } from '../arrange-kernel.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';

/** What a rule may ask of the graph around it. */
export interface LoweringContext {
  readonly emitter: OnnxEmitter;
  /** The ONNX value of an IR node. */
  nameOf(node: Node): ValueName;
  /** Channels of a block of ONNX Runtime's blocked convolutions; 1 where they are not to be used. */
  readonly convBlock: number;
  /**
   * The value of a frozen kernel in another layout, where the executor keeps such copies; otherwise
   * undefined.
   */
  arrangedKernel(node: Node, layout: KernelLayout): ValueName | undefined;
  /** Which gradients the graph takes of the attention that one of them is of. */
  wantedGradients(
    node: NodeOf<'attentionGrad'>,
  ): readonly NodeOf<'attentionGrad'>['attrs']['wrt'][];
  /** The product that an addition takes over into its own Gemm, if any. */
  fusedProduct(node: Node): FusedProduct | undefined;
}

/** Emits the operations of one IR node and names the value that they give. */
export type LoweringRule<K extends OpKind> = (
  context: LoweringContext,
  node: NodeOf<K>,
) => ValueName;

/** Some rules, typed by their kinds. */
export type LoweringRules<K extends OpKind> = { readonly [Kind in K]: LoweringRule<Kind> };
