/** @file The operations a graph is made of: each kind's inputs and attributes, and the node that holds them. */

import type { ComputeDType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/shape.ts';

type Unary = { readonly inputs: readonly [Node]; readonly attrs: object };
type Binary = { readonly inputs: readonly [Node, Node]; readonly attrs: object };
type Leaf<Attrs> = { readonly inputs: readonly []; readonly attrs: Attrs };
type Named = { readonly name: string };

/** Strides and zero padding of a convolution; `pads` is [top, left, bottom, right] in pixels. */
export interface ConvAttrs {
  readonly stride: number;
  readonly pads: readonly [number, number, number, number];
}

/** Heads share the last dimension; scores are scaled by `scale`; `causal` hides later keys. */
export interface AttentionAttrs {
  readonly heads: number;
  readonly scale: number;
  readonly causal: boolean;
}

/** Inputs and attributes of every kind. A new line here makes the compiler ask for its rules. */
export interface Ops {
  /** Fed at each run. */
  input: Leaf<Named>;
  /** A frozen weight, bound by its name in the checkpoint, or made of several: `joinedName`, `summedName`. */
  parameter: Leaf<Named>;
  /** State that lives between runs: trained weights, optimizer moments. */
  variable: Leaf<Named>;
  /** Fixed values: one for all elements, or one for each. */
  constant: Leaf<{ readonly values: readonly number[] }>;

  /** Elementwise with numpy's broadcasting. */
  add: Binary;
  sub: Binary;
  mul: Binary;
  div: Binary;
  /** (condition [], a, b): a where the condition is greater than 0, else b, of which NaN is not seen. */
  select: { readonly inputs: readonly [Node, Node, Node]; readonly attrs: object };
  exp: Unary;
  sqrt: Unary;
  sigmoid: Unary;
  /** x·σ(x). */
  silu: Unary;
  /** x·Φ(x), with erf. */
  gelu: Unary;
  /** x·σ(1.702x), as OpenAI's CLIP. */
  quickGelu: Unary;
  /** (x, ct): the cotangent of x. */
  siluGrad: Binary;
  geluGrad: Binary;
  quickGeluGrad: Binary;

  /** [.., m, k]·[.., k, n], each side transposed first where asked; batch dimensions are equal. */
  matmul: {
    readonly inputs: readonly [Node, Node];
    readonly attrs: { readonly transposeA: boolean; readonly transposeB: boolean };
  };
  /** x [.., in], weight [out, in], bias [out]: x·Wᵀ + b. */
  linear: {
    readonly inputs: readonly [Node, Node] | readonly [Node, Node, Node];
    readonly attrs: object;
  };
  /** x [n, in, h, w], weight [out, in, kh, kw], bias [out]. */
  conv2d: {
    readonly inputs: readonly [Node, Node] | readonly [Node, Node, Node];
    readonly attrs: ConvAttrs;
  };
  /** (ct, weight): the cotangent of a convolution's input of the given height and width. */
  conv2dInputGrad: {
    readonly inputs: readonly [Node, Node];
    readonly attrs: ConvAttrs & { readonly height: number; readonly width: number };
  };
  /** (x, ct): the cotangent of a convolution's weight with the given kernel. */
  conv2dWeightGrad: {
    readonly inputs: readonly [Node, Node];
    readonly attrs: ConvAttrs & { readonly kernel: readonly [number, number] };
  };
  /** q [n, s, c], k and v [n, t, c]: softmax(q·kᵀ·scale)·v for each head of c/heads channels. */
  attention: { readonly inputs: readonly [Node, Node, Node]; readonly attrs: AttentionAttrs };
  /** (q, k, v, output, ct): the cotangent of one of the three. */
  attentionGrad: {
    readonly inputs: readonly [Node, Node, Node, Node, Node];
    readonly attrs: AttentionAttrs & { readonly wrt: 'q' | 'k' | 'v' };
  };
  /** x [n, c, ..], scale and bias [c]: normalised over each group of c/groups channels. */
  groupNorm: {
    readonly inputs: readonly [Node, Node, Node];
    readonly attrs: { readonly groups: number; readonly epsilon: number };
  };
  /** (x, scale, ct): the cotangent of x. */
  groupNormInputGrad: {
    readonly inputs: readonly [Node, Node, Node];
    readonly attrs: { readonly groups: number; readonly epsilon: number };
  };
  /** (x, ct): the cotangent of scale. */
  groupNormScaleGrad: {
    readonly inputs: readonly [Node, Node];
    readonly attrs: { readonly groups: number; readonly epsilon: number };
  };
  /** x [.., c], scale and bias [c]: normalised over the last dimension. */
  layerNorm: {
    readonly inputs: readonly [Node, Node, Node];
    readonly attrs: { readonly epsilon: number };
  };
  /** (x, scale, ct): the cotangent of x. */
  layerNormInputGrad: {
    readonly inputs: readonly [Node, Node, Node];
    readonly attrs: { readonly epsilon: number };
  };
  /** (x, ct): the cotangent of scale. */
  layerNormScaleGrad: {
    readonly inputs: readonly [Node, Node];
    readonly attrs: { readonly epsilon: number };
  };

  reshape: { readonly inputs: readonly [Node]; readonly attrs: { readonly shape: Shape } };
  transpose: { readonly inputs: readonly [Node]; readonly attrs: { readonly perm: Shape } };
  concat: { readonly inputs: readonly Node[]; readonly attrs: { readonly axis: number } };
  /** Elements [starts, ends) of each dimension. */
  slice: {
    readonly inputs: readonly [Node];
    readonly attrs: { readonly starts: Shape; readonly ends: Shape };
  };
  /** Zeros before and after each dimension. */
  pad: {
    readonly inputs: readonly [Node];
    readonly attrs: { readonly before: Shape; readonly after: Shape };
  };
  /** Broadcast to `shape` by numpy's rule. */
  expand: { readonly inputs: readonly [Node]; readonly attrs: { readonly shape: Shape } };
  /** Sum over `axes`, which stay with size 1. */
  sum: { readonly inputs: readonly [Node]; readonly attrs: { readonly axes: Shape } };
  /** [n, c, h, w] to the given size, pixel i from floor(i·h/height). */
  upsampleNearest: {
    readonly inputs: readonly [Node];
    readonly attrs: { readonly height: number; readonly width: number };
  };
  /** (ct) back to the size before up-sampling. */
  upsampleNearestGrad: {
    readonly inputs: readonly [Node];
    readonly attrs: { readonly height: number; readonly width: number };
  };
  /** (table [rows, d], ids i32 [..]): the rows, [.., d]. */
  gather: Binary;
  /** (ids, ct): the cotangent of a table with so many rows. */
  gatherGrad: {
    readonly inputs: readonly [Node, Node];
    readonly attrs: { readonly rows: number };
  };
  /**
   * (x, after): x, but computed after `after`, and never merged with another node of the same
   * meaning: it makes a recomputed segment wait for the gradient that needs it.
   */
  barrier: Binary;
}

export type OpKind = keyof Ops;

/** One operation with its inputs; `shape` and `dtype` are those of its only output. */
export interface NodeOf<K extends OpKind> {
  /** Unique in its builder and greater than those of all inputs. */
  readonly id: number;
  readonly op: K;
  readonly inputs: Ops[K]['inputs'];
  readonly attrs: Ops[K]['attrs'];
  readonly shape: Shape;
  readonly dtype: ComputeDType;
  /** The checkpointing segment of the forward pass that made it, if any. */
  readonly segment?: number;
}

export type Node = { [K in OpKind]: NodeOf<K> }[OpKind];

/** The kinds without inputs. */
export type LeafKind = 'input' | 'parameter' | 'variable' | 'constant';

/** A leaf of the graph that is bound by name. */
export type NamedLeaf = NodeOf<'input'> | NodeOf<'parameter'> | NodeOf<'variable'>;

export function isNamedLeaf(node: Node): node is NamedLeaf {
  return node.op === 'input' || node.op === 'parameter' || node.op === 'variable';
}

/** What is computed: the values fetched by name, and the new values of variables. */
export interface Graph {
  /** In topological order: inputs first. */
  readonly nodes: readonly Node[];
  readonly outputs: ReadonlyMap<string, Node>;
  readonly updates: ReadonlyMap<string, Node>;
}
