/** @file What the lowering rule of an operation gets and gives. */

import type { Node, NodeOf, OpKind } from '../../../graph/ops.ts';
import type { TfjsEmitter, Value } from '../tfjs-emitter.ts';

/** What a graph is lowered for. */
export interface LoweringTarget {
  /**
   * Products are made of products of two matrices, neither of them transposed: wasm multiplies all
   * others in plain loops, fifteen times slower.
   */
  readonly singleProducts: boolean;
  /**
   * The gradient of a convolution's input is the back end's own operation; else it is a convolution
   * with the kernel turned round. On wasm its own is ten times slower.
   */
  readonly gradientKernel: boolean;
}

/**
 * How a weight lies: as the checkpoint has it; a matrix transposed; a convolution's kernel as [kh, kw,
 * in, out], and turned round as [kh, kw, out, in] for the input gradient.
 */
export type Arrangement = 'asIs' | 'transposed' | 'kernel' | 'turnedKernel';

/** What a rule may ask of the graph around it. */
export interface LoweringContext {
  readonly emitter: TfjsEmitter;
  readonly target: LoweringTarget;
  /** The value of an IR node, its dimensions as the node says. */
  asIs(node: Node): Value;
  /** The value of an image [n, c, h, w] as [n, h, w, c]. */
  asImage(node: Node): Value;
  /** All of them as images where one is and all have its shape; else as the nodes say. */
  alike(nodes: readonly Node[]): Value[];
  /** A weight in another arrangement, made once for all graphs where it is frozen. */
  arranged(node: Node, arrangement: Arrangement): Value;
}

/** Emits the steps of one IR node and gives the value that they make. */
export type LoweringRule<K extends OpKind> = (context: LoweringContext, node: NodeOf<K>) => Value;

/** Some rules, typed by their kinds. */
export type LoweringRules<K extends OpKind> = { readonly [Kind in K]: LoweringRule<Kind> };
