/** @file What the lowering rule of an operation gets and gives. */

import type { Node, NodeOf, OpKind } from '../../../graph/ops.ts';
import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';

/** What a rule may ask of the graph around it. */
export interface LoweringContext {
  readonly emitter: OnnxEmitter;
  /** The ONNX value of an IR node. */
  nameOf(node: Node): ValueName;
  /**
   * The value of a frozen weight with its kernel flipped and its first two dimensions swapped, where
   * the executor keeps such a copy; otherwise undefined.
   */
  flippedWeight(node: Node): ValueName | undefined;
  /** The product that an addition takes over into its own Gemm, if any. */
  fusedProduct(node: Node): FusedProduct | undefined;
}

/** An addition `rest + product` as one Gemm with the rest as its C. */
export interface FusedProduct {
  readonly rest: Node;
  readonly product: NodeOf<'linear'> | NodeOf<'matmul'>;
}

/** Emits the operations of one IR node and names the value that they give. */
export type LoweringRule<K extends OpKind> = (
  context: LoweringContext,
  node: NodeOf<K>,
) => ValueName;

/** Some rules, typed by their kinds. */
export type LoweringRules<K extends OpKind> = { readonly [Kind in K]: LoweringRule<Kind> };
