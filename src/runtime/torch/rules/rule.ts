/** @file What the lowering rule of an operation gets and gives. */

import type { AttentionAttrs, Node, NodeOf, OpKind } from '../../../graph/ops.ts';
import type { FusedProduct } from '../../../graph/passes/find-fused-products.ts';
import type { Shape } from '../../../tensor/shape.ts';
import type { Precision } from '../../executor.ts';
import type { Argument, TorchEmitter, Value } from '../torch-emitter.ts';
import type { TorchDType, TorchLibrary } from '../torch-library.ts';

/** The float type of heavy operations; variables, losses and optimizers are always f32. */
export type ComputeType = Precision;

/**
 * What computes attention: the processor's kernel, one of three for NVIDIA GPUs, or none, so that it is
 * composed of products and a softmax.
 */
export type AttentionKernel = 'cpu' | 'flash' | 'cudnn' | 'efficient' | 'composed';

/** How attention of some sizes is computed, forward and backward. */
export interface AttentionChoice {
  readonly kernel: AttentionKernel;
  /** Parts that the queries are attended in, each by itself; not of causal attention. */
  readonly chunks: number;
}

/** All queries at once. */
export const unchunked = (kernel: AttentionKernel): AttentionChoice => ({ kernel, chunks: 1 });

/** Kernels of our own (src/runtime/torch/kernels). */
export type OwnKernel = 'geglu' | 'groupNorm' | 'layerNorm' | 'pointwise';
export const ownKernels: ReadonlySet<OwnKernel> = new Set([
  'geglu',
  'groupNorm',
  'layerNorm',
  'pointwise',
]);

export interface AttentionSizes extends AttentionAttrs {
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  /** Of a head. */
  readonly channels: number;
}

/** What a graph is lowered for. */
export interface LoweringTarget {
  readonly compute: ComputeType;
  readonly attention: (sizes: AttentionSizes, compute: ComputeType) => AttentionChoice;
  /** Whether images and kernels are kept with their channels innermost. */
  readonly channelsLast: boolean;
  /** Whether group norms take such images; else they are made row-major first. */
  readonly normsTakeChannelsLast: boolean;
  /** Whether a product can be added to a value in place. */
  readonly addsProducts: boolean;
  /** What is computed by kernels of our own; nothing unless given. */
  readonly kernels?: ReadonlySet<OwnKernel>;
}

/** What a rule may ask of the graph around it. */
export interface LoweringContext {
  readonly emitter: TorchEmitter;
  readonly target: LoweringTarget;
  readonly codes: Pick<TorchLibrary, 'dtypeCodes' | 'memoryFormats'>;
  /** The value of an IR node, in the type it was computed in. */
  asIs(node: Node): Value;
  /** The same in another float type. */
  asType(node: Node, dtype: TorchDType): Value;
  /** The same in the type of heavy operations. */
  asCompute(node: Node): Value;
  /** All of them in one float type: f32 where one of them is, scalar and filled constants aside. */
  alike(nodes: readonly Node[]): Value[];
  /** Says what a node's value is, before its turn. */
  define(node: Node, value: Value): void;
  /** The product that an addition takes over, if any. */
  fusedProduct(node: Node): FusedProduct | undefined;
  /** The strides that a batch of products is wanted in; undefined where they do not matter. */
  orderOf(node: Node): Shape | undefined;
  /**
   * Emits an operation that writes its result where it will lie in a concatenation; undefined, and
   * nothing is emitted, where it lies by itself. `args` are without the output, which comes last.
   */
  writeJoined(
    node: Node,
    op: string,
    overload: string,
    args: readonly Argument[],
    dtype: TorchDType,
  ): Value | undefined;
}

/** Emits the calls of one IR node and gives the value that they make. */
export type LoweringRule<K extends OpKind> = (context: LoweringContext, node: NodeOf<K>) => Value;

/** Some rules, typed by their kinds. */
export type LoweringRules<K extends OpKind> = { readonly [Kind in K]: LoweringRule<Kind> };
