/** @file Finds what a kernel of our own computes at once: a norm and what is around it, GEGLU, and their gradients. */

import type { Graph, Node, NodeOf } from '../../graph/ops.ts';
import type { FusedProducts } from '../../graph/passes/find-fused-products.ts';
import { sameShape, sizeOf } from '../../tensor/shape.ts';
import { findPointwise, type PointwiseChain } from './find-pointwise.ts';
import { takesGeglu } from './kernels/geglu.ts';
import { takesGroupNorm } from './kernels/group-norm-blocks.ts';
import { takesLayerNorm } from './kernels/layer-norm.ts';
import type { LoweringTarget } from './rules/rule.ts';

/** What a kernel computes in a node's place. */
export type FusedKernel =
  /** a·gelu(b) of `projected`, whose rows are [a | b]. */
  | { readonly kind: 'geglu'; readonly projected: Node }
  | {
      readonly kind: 'gegluGrad';
      readonly projected: Node;
      readonly ct: Node;
      /** What is computed again for other gradients, and comes with this one. */
      readonly again: Node | undefined;
    }
  | {
      readonly kind: 'groupNorm';
      readonly norm: NodeOf<'groupNorm'>;
      readonly silu: boolean;
      /** What is normalized, where it is computed here too. */
      readonly sum: ImageSum | undefined;
    }
  | {
      readonly kind: 'groupNormGrad';
      readonly grad: NodeOf<'groupNormInputGrad'>;
      /** Of the norm, or of the SiLU after the norm where there is a bias. */
      readonly ct: Node;
      readonly bias: Node | undefined;
      readonly rest: Node | undefined;
    }
  | {
      readonly kind: 'layerNorm';
      readonly norm: NodeOf<'layerNorm'>;
      /** What is normalized, where it is computed here too. */
      readonly sum: (NodeOf<'add'> & Node) | undefined;
    }
  | {
      readonly kind: 'layerNormGrad';
      readonly grad: NodeOf<'layerNormInputGrad'>;
      readonly rest: Node | undefined;
      /** The norm, where it is computed again for other gradients. */
      readonly again: (Node & NodeOf<'layerNorm'>) | undefined;
    }
  | { readonly kind: 'pointwise'; readonly chain: PointwiseChain };

/** A sum of an image and of another one, or of one value for each channel. */
export interface ImageSum {
  readonly node: Node;
  readonly image: Node;
  readonly other: Node;
  /** Of the convolution that gives one of the two, which is computed without it. */
  readonly bias: Node | undefined;
}

export interface FusedKernels {
  /** Nodes that are computed after another one, in order, and not in their places. */
  readonly delayed: ReadonlyMap<Node, readonly Node[]>;
  /** Convolutions whose bias is added by somebody else. */
  readonly withoutBias: ReadonlySet<Node>;
  readonly byNode: ReadonlyMap<Node, FusedKernel>;
  /** Nodes whose values nobody needs any more. */
  readonly absorbed: ReadonlySet<Node>;
}

/** The node whose value it is. */
function sourceOf(node: Node): Node {
  let source = node;
  while (source.op === 'barrier') source = source.inputs[0]!;
  return source;
}

/** What the gradients of factors are made of. */
const mayBeDelayed: ReadonlySet<Node['op']> = new Set(['reshape', 'transpose', 'matmul']);

/** Whether it lies row by row: images may have their channels innermost. */
const isRows = ({ shape }: Node) => shape.length !== 4;

/** Which half of the last dimension a slice takes, and of what. */
function halfOf(node: Node): { readonly whole: Node; readonly half: 0 | 1 } | undefined {
  const slice = sourceOf(node);
  if (slice.op !== 'slice') return undefined;
  const whole = slice.inputs[0]!;
  const { starts, ends } = slice.attrs;
  const axis = whole.shape.length - 1;
  const width = whole.shape[axis]! / 2;
  if (slice.shape[axis] !== width || sizeOf(slice.shape) !== sizeOf(whole.shape) / 2) {
    return undefined;
  }
  if (starts[axis] === 0 && ends[axis] === width) return { whole, half: 0 };
  return starts[axis] === width ? { whole, half: 1 } : undefined;
}

class Finder {
  readonly byNode = new Map<Node, FusedKernel>();
  readonly absorbed = new Set<Node>();
  readonly withoutBias = new Set<Node>();
  readonly delayed = new Map<Node, readonly Node[]>();
  readonly #readers = new Map<Node, Node[]>();
  readonly #places = new Map<Node, number>();
  readonly #results: ReadonlySet<Node>;
  readonly #graph: Graph;
  readonly #target: LoweringTarget;
  readonly #products: FusedProducts;

  constructor(graph: Graph, target: LoweringTarget, products: FusedProducts) {
    this.#graph = graph;
    this.#target = target;
    this.#products = products;
    this.#results = new Set([...graph.outputs.values(), ...graph.updates.values()]);
    for (const [i, node] of graph.nodes.entries()) {
      this.#places.set(node, i);
      // A barrier's other inputs are waited for, and not read.
      const read = node.op === 'barrier' ? node.inputs.slice(0, 1) : node.inputs;
      for (const input of read) {
        const readers = this.#readers.get(input);
        if (readers) readers.push(node);
        else this.#readers.set(input, [node]);
      }
    }
  }

  find(): FusedKernels {
    const { kernels = new Set(), channelsLast } = this.#target;
    for (const node of this.#graph.nodes) {
      if (node.op === 'gelu' && kernels.has('geglu')) this.#findGeglu(node);
      if (node.op === 'layerNorm' && kernels.has('layerNorm')) this.#findLayerNorm(node);
      if (node.op === 'layerNormInputGrad' && kernels.has('layerNorm')) {
        this.#findLayerNormGrad(node);
      }
      if (!kernels.has('groupNorm') || !channelsLast) continue;
      if (node.op === 'groupNorm') this.#findGroupNorm(node);
      if (node.op === 'groupNormInputGrad') this.#findGroupNormGrad(node);
    }
    if (kernels.has('pointwise')) this.#findPointwise();
    this.#findAgain();
    return this;
  }

  /** Lets gradients' kernels give what is computed again, and computes after them what reads it. */
  #findAgain(): void {
    for (const [again, kernel] of [...this.byNode]) {
      if (kernel.kind === 'geglu') {
        const isOfSame = (other: FusedKernel) =>
          other.kind === 'gegluGrad' && other.projected === kernel.projected;
        this.#giveAgain(again, isOfSame);
      }
      if (kernel.kind === 'layerNorm' && again.inputs[0]!.op === 'barrier') {
        const { norm } = kernel;
        const isOfSame = (other: FusedKernel) =>
          other.kind === 'layerNormGrad' &&
          sourceOf(other.grad.inputs[0]) === sourceOf(norm.inputs[0]) &&
          other.grad.inputs[1] === norm.inputs[1] &&
          other.grad.attrs.epsilon === norm.attrs.epsilon;
        this.#giveAgain(again, isOfSame);
      }
    }
  }

  #giveAgain(again: Node, isOfSame: (kernel: FusedKernel) => boolean): void {
    const later = this.#graph.nodes.slice(this.#places.get(again)! + 1);
    const dependents = new Set([again]);
    for (const node of later) {
      const kernel = this.byNode.get(node);
      if (kernel && isOfSame(kernel)) {
        if (dependents.size === 1 || node.inputs.some((input) => dependents.has(input))) return;
        if (kernel.kind !== 'gegluGrad' && kernel.kind !== 'layerNormGrad') return;
        if (kernel.again) return;
        this.byNode.set(node, { ...kernel, again } as FusedKernel);
        this.byNode.delete(again);
        this.absorbed.add(again);
        this.delayed.set(node, [...dependents].slice(1));
        return;
      }
      if (!node.inputs.some((input) => dependents.has(input))) continue;
      if (!mayBeDelayed.has(node.op) || this.#results.has(node) || this.#isFused(node)) return;
      dependents.add(node);
    }
  }

  #isFused(node: Node): boolean {
    const { byAddition, absorbed } = this.#products;
    return (
      byAddition.has(node) || absorbed.has(node) || this.absorbed.has(node) || this.byNode.has(node)
    );
  }

  #findPointwise(): void {
    for (const chain of findPointwise(this.#graph, this.#products)) {
      for (const node of [...chain.scalars, ...chain.members]) this.absorbed.add(node);
      const last = chain.members.at(-1)!;
      this.absorbed.delete(last);
      this.byNode.set(last, { kind: 'pointwise', chain });
    }
  }

  /** Who reads a value, whether behind barriers or not. */
  #readersOf(node: Node): Node[] {
    return (this.#readers.get(node) ?? []).flatMap((reader) =>
      reader.op === 'barrier' ? [...this.#barrierReaders(reader)] : [reader],
    );
  }

  #barrierReaders(barrier: Node): Node[] {
    return this.#results.has(barrier) ? [barrier] : this.#readersOf(barrier);
  }

  #onlyReader(node: Node): Node | undefined {
    const readers = this.#readers.get(node) ?? [];
    return readers.length === 1 && !this.#results.has(node) ? readers[0] : undefined;
  }

  /** All products of a GELU have to be computed by kernels: else its value is there anyway. */
  #findGeglu(gelu: Node & NodeOf<'gelu'>): void {
    const gates = halfOf(gelu.inputs[0]);
    if (gates?.half !== 1 || this.#results.has(gelu)) return;
    const projected = gates.whole;
    if (!isRows(gelu) || !takesGeglu(this.#target.compute, gelu.shape.at(-1)!)) return;
    const found: { readonly node: Node; readonly kernel: FusedKernel; readonly inner: Node[] }[] =
      [];
    for (const reader of this.#readersOf(gelu)) {
      if (reader.op !== 'mul') return;
      const other = sourceOf(reader.inputs[0]!) === gelu ? reader.inputs[1]! : reader.inputs[0]!;
      const values = halfOf(other);
      if (values?.half === 0 && values.whole === projected) {
        found.push({ node: reader, kernel: { kind: 'geglu', projected }, inner: [] });
        continue;
      }
      const gradient = this.#gegluGrad(reader, other, projected);
      if (!gradient) return;
      found.push(gradient);
    }
    for (const { node, kernel, inner } of found) {
      this.byNode.set(node, kernel);
      for (const each of inner) this.absorbed.add(each);
    }
    if (found.length > 0) this.#absorbWithBarriers(gelu);
  }

  /** ct·gelu(b) beside gelu'(b)·(ct·a), the gradients of both halves. */
  #gegluGrad(product: Node, ct: Node, projected: Node) {
    const whole = this.#onlyReader(product);
    if (whole?.op !== 'concat' || whole.inputs.length !== 2 || whole.inputs[0] !== product) {
      return undefined;
    }
    if (whole.attrs.axis !== projected.shape.length - 1) return undefined;
    const other = whole.inputs[1]!;
    if (other.op !== 'geluGrad' || this.#onlyReader(other) !== whole) return undefined;
    const [gate, slope] = other.inputs as readonly [Node, Node];
    const gates = halfOf(gate);
    if (gates?.half !== 1 || gates.whole !== projected) return undefined;
    if (slope.op !== 'mul' || this.#onlyReader(slope) !== other) return undefined;
    const [a, b] = slope.inputs as readonly [Node, Node];
    const values = halfOf(a === ct ? b : a);
    if ((a !== ct && b !== ct) || values?.half !== 0 || values.whole !== projected) {
      return undefined;
    }
    const kernel: FusedKernel = { kind: 'gegluGrad', projected, ct, again: undefined };
    return { node: whole, kernel, inner: [product, other, slope] };
  }

  #findLayerNorm(norm: Node & NodeOf<'layerNorm'>): void {
    const [x] = norm.inputs;
    if (!isRows(x) || !takesLayerNorm(this.#target.compute, x.shape.at(-1)!)) return;
    const isSum =
      x.op === 'add' &&
      sameShape(x.inputs[0]!.shape, x.inputs[1]!.shape) &&
      this.#isPlain(x) &&
      this.#isReadFrom(norm, x, norm);
    const sum = isSum ? (x as NodeOf<'add'> & Node) : undefined;
    this.byNode.set(norm, { kind: 'layerNorm', norm, sum });
    // It is defined with the norm.
    if (sum) this.absorbed.add(sum);
  }

  #findLayerNormGrad(grad: Node & NodeOf<'layerNormInputGrad'>): void {
    if (!isRows(grad) || !takesLayerNorm(this.#target.compute, grad.shape.at(-1)!)) return;
    const { node, rest } = this.#withRest(grad);
    this.byNode.set(node, { kind: 'layerNormGrad', grad, rest, again: undefined });
  }

  #findGroupNorm(norm: Node & NodeOf<'groupNorm'>): void {
    if (!this.#takesGroups(norm, norm.attrs.groups)) return;
    const readers = this.#readersOf(norm);
    const isActivated =
      !this.#results.has(norm) &&
      readers.length > 0 &&
      readers.every(
        (reader) =>
          reader.op === 'silu' ||
          (reader.op === 'siluGrad' && this.#normGradOf(reader, norm) !== undefined),
      );
    if (!isActivated) {
      this.byNode.set(norm, {
        kind: 'groupNorm',
        norm,
        silu: false,
        sum: this.#imageSum(norm, norm),
      });
      return;
    }
    for (const reader of readers) {
      if (reader.op === 'silu') {
        const sum = this.#imageSum(norm, reader);
        this.byNode.set(reader, { kind: 'groupNorm', norm, silu: true, sum });
      } else this.absorbed.add(reader);
    }
    this.#absorbWithBarriers(norm);
  }

  /** The sum that is normalized, where nobody wants it before the kernel's place. */
  #imageSum(norm: Node & NodeOf<'groupNorm'>, kernel: Node): ImageSum | undefined {
    const [x] = norm.inputs;
    if (x.op !== 'add' || !this.#isPlain(x) || !this.#isReadFrom(kernel, x, norm)) return undefined;
    const [a, b] = x.inputs as readonly [Node, Node];
    const isImage = (node: Node) => sameShape(node.shape, x.shape);
    const [image, other] = isImage(a) ? [a, b] : [b, a];
    const [images, channels] = x.shape as [number, number];
    const isPerImage = sameShape(other.shape, [images, channels, 1, 1]);
    if (!isImage(image) || !(isImage(other) || isPerImage)) return undefined;
    this.absorbed.add(x);
    const convolution = [image, other].find(
      (node) => node.op === 'conv2d' && node.inputs.length === 3 && this.#onlyReader(node) === x,
    );
    if (convolution) this.withoutBias.add(convolution);
    return { node: x, image, other, bias: convolution?.inputs[2] };
  }

  /** Whether a value is read at a node's place or later, by all but `norm`, which is computed there. */
  #isReadFrom(node: Node, value: Node, norm: Node): boolean {
    const place = this.#places.get(node)!;
    const readers = this.#readers.get(value) ?? [];
    return readers.every((reader) => reader === norm || this.#places.get(reader)! >= place);
  }

  /** The norm's gradient that alone reads the gradient of the SiLU after it. */
  #normGradOf(siluGrad: Node, norm: NodeOf<'groupNorm'>) {
    const grad = this.#onlyReader(siluGrad);
    if (grad?.op !== 'groupNormInputGrad' || grad.inputs[2] !== siluGrad) return undefined;
    const [x, scale] = grad.inputs;
    const { groups, epsilon } = norm.attrs;
    const isSame =
      sourceOf(x!) === sourceOf(norm.inputs[0]) &&
      scale === norm.inputs[1] &&
      grad.attrs.groups === groups &&
      grad.attrs.epsilon === epsilon;
    return isSame ? grad : undefined;
  }

  #findGroupNormGrad(grad: Node & NodeOf<'groupNormInputGrad'>): void {
    if (!this.#takesGroups(grad, grad.attrs.groups)) return;
    const { node, rest } = this.#withRest(grad);
    const [, , cotangent] = grad.inputs;
    // Norms come before their gradients: what is absorbed is known.
    const isFused = cotangent.op === 'siluGrad' && this.absorbed.has(cotangent);
    const siluGrad = isFused ? (cotangent as Node) : undefined;
    const norm = siluGrad && (sourceOf(siluGrad.inputs[0]!) as Node & NodeOf<'groupNorm'>);
    this.byNode.set(node, {
      kind: 'groupNormGrad',
      grad,
      ct: siluGrad ? siluGrad.inputs[1]! : cotangent,
      bias: norm?.inputs[2],
      rest,
    });
  }

  /** The node that stands for a gradient: the sum that alone reads it, where it is one of two. */
  #withRest(grad: Node): { readonly node: Node; readonly rest: Node | undefined } {
    const sum = this.#onlyReader(grad);
    if (sum?.op !== 'add' || !this.#isPlain(sum)) return { node: grad, rest: undefined };
    const [a, b] = sum.inputs as readonly [Node, Node];
    if (a === b || !sameShape(a.shape, b.shape)) return { node: grad, rest: undefined };
    this.absorbed.add(grad);
    return { node: sum, rest: a === grad ? b : a };
  }

  /** Whether nothing else computes a sum. */
  #isPlain(sum: Node): boolean {
    const { byAddition, absorbed } = this.#products;
    return (
      !byAddition.has(sum) &&
      !absorbed.has(sum) &&
      !this.absorbed.has(sum) &&
      !this.byNode.has(sum) &&
      !sum.inputs.some((input) => absorbed.has(input))
    );
  }

  #takesGroups({ shape }: Node, groups: number): boolean {
    return (
      shape.length === 4 && takesGroupNorm(this.#target.compute, { channels: shape[1]!, groups })
    );
  }

  /** A value that is not made has no barriers either. */
  #absorbWithBarriers(node: Node): void {
    this.absorbed.add(node);
    for (const reader of this.#readers.get(node) ?? []) {
      if (reader.op === 'barrier') this.#absorbWithBarriers(reader);
    }
  }
}

/** `products` are the additions that matrix products take over. */
export function findFusedKernels(
  graph: Graph,
  target: LoweringTarget,
  products: FusedProducts,
): FusedKernels {
  return new Finder(graph, target, products).find();
}
