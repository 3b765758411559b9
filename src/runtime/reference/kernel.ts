/** @file What a kernel of the reference executor is: one function that fills an array from others. */

import type { Node, NodeOf, OpKind, Ops } from '../../graph/ops.ts';

/** A value's elements, row-major: floats of the executor's precision, or whole numbers. */
export type Elements = Float32Array | Float64Array | Int32Array;

type ElementsOf<Inputs extends readonly Node[]> = { readonly [I in keyof Inputs]: Elements };

/**
 * Computes a node: `inputs` in the node's order, `out` filled with zeros at first. Shapes are on
 * the node. Arithmetic and sums are in f64; only what is stored in `out` is rounded.
 */
export type Kernel<K extends OpKind> = (
  node: NodeOf<K>,
  inputs: ElementsOf<Ops[K]['inputs']>,
  out: Elements,
) => void;

/** Kernels of some kinds. */
export type Kernels<Kinds extends OpKind> = { readonly [K in Kinds]: Kernel<K> };
