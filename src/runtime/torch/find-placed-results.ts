/**
 * @file Finds results that can be written as they will lie: where a concatenation will have them, or in
 * the order that a transposition wants. Nothing else may read them.
 */

import { countUses } from '../../graph/count-uses.ts';
import type { Graph, Node, NodeOf } from '../../graph/ops.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { TorchDType } from './torch-library.ts';

/** Memory for a concatenation, or for some of its parts that lie side by side. */
export interface JoinedBuffer {
  readonly shape: Shape;
  /** Of the concatenation. */
  readonly axis: number;
  /** Of the first part in the concatenation, along the axis. */
  readonly start: number;
  /** Its type; that of what is written first unless given. */
  readonly dtype?: TorchDType;
}

/** Where a value goes, along the buffer's axis. */
interface Destination {
  readonly buffer: JoinedBuffer;
  readonly start: number;
  readonly size: number;
}

interface JoinedPart {
  /** What is concatenated. */
  readonly node: Node;
  /** What makes its elements; between both are views that show all of them in their order. */
  readonly writer: Node;
  readonly start: number;
}

/** A concatenation of which some parts can be written to their place. */
interface Joined {
  readonly whole: JoinedBuffer;
  /** Buffers whose elements are copied to the whole in the end. */
  readonly pieces: readonly JoinedBuffer[];
  readonly parts: readonly JoinedPart[];
}

export interface PlacedResults {
  readonly joined: ReadonlyMap<Node, Joined>;
  readonly destinations: ReadonlyMap<Node, Destination>;
  /** Views of what can be placed, by which nobody wants it any more where it is. */
  readonly views: ReadonlyMap<Node, Node>;
  /** Batches of products that are read transposed alone, by the permutation. */
  readonly transposed: ReadonlyMap<Node, Shape>;
}

type Concat = NodeOf<'concat'>;
type IsSingle = (node: Node) => boolean;
type Places = Omit<
  { [K in keyof PlacedResults]: Map<Node, MapValue<PlacedResults[K]>> },
  'transposed'
>;
type MapValue<M> = M extends ReadonlyMap<Node, infer V> ? V : never;

/** Elementwise kinds whose lowering writes to a destination. */
const writers: ReadonlySet<Node['op']> = new Set(['mul', 'geluGrad']);

/** Whether one call multiplies them into memory that is there: matrices, or batches of one size. */
function isPlainProduct(node: Node): boolean {
  if (node.op !== 'matmul') return false;
  const [a, b] = node.inputs.map(({ shape }) => shape) as [Shape, Shape];
  if (a.length !== b.length) return false;
  return a.length === 2 || (a.length === 3 && a[0] === b[0]);
}

const showsAll = (node: Node) =>
  node.op === 'reshape' ||
  (node.op === 'slice' && sizeOf(node.shape) === sizeOf(node.inputs[0].shape));

/** The parts of a concatenation in order. */
function partsOf({ inputs, attrs: { axis } }: Concat, writerOf: (node: Node) => Node) {
  let start = 0;
  return inputs.map((node): JoinedPart => {
    const part = { node, writer: writerOf(node), start };
    start += node.shape[axis]!;
    return part;
  });
}

/** Of an array all parts are written to one buffer, or none. */
function placeArray(node: Concat, isSingle: IsSingle, { joined, destinations }: Places): void {
  if (!node.inputs.every((input) => writers.has(input.op) && isSingle(input))) return;
  const { axis } = node.attrs;
  const buffer: JoinedBuffer = { shape: node.shape, axis, start: 0 };
  const parts = partsOf(node, (input) => input);
  joined.set(node as Node, { whole: buffer, pieces: [], parts });
  for (const { writer, start } of parts) {
    destinations.set(writer, { buffer, start, size: writer.shape[axis]! });
  }
}

/**
 * Pieces that the products of a vector are written to. Gradients come about one after the other, and
 * each piece takes memory only from its first one on.
 */
const pieceCount = 16;

/** A vector's products are written to pieces, in their own type; the vector is f32, as its readers are. */
function placeVector(node: Concat, isSingle: IsSingle, places: Places): void {
  const views = new Map<Node, Node>();
  const parts = partsOf(node, (part) => {
    let writer = part;
    while (isSingle(writer) && showsAll(writer)) writer = writer.inputs[0]!;
    for (let view = part; view !== writer; view = view.inputs[0]!) views.set(view, writer);
    return writer;
  });
  const size = node.shape[0]!;
  const whole: JoinedBuffer = { shape: [size], axis: 0, start: 0, dtype: 'f32' };
  const pieces: JoinedBuffer[] = [];
  let run: JoinedPart[] = [];
  const endOf = ({ node: { shape }, start }: JoinedPart) => start + shape[0]!;
  const endRun = () => {
    if (run.length === 0) return;
    const { start } = run[0]!;
    const piece = { shape: [endOf(run.at(-1)!) - start], axis: 0, start };
    pieces.push(piece);
    for (const {
      writer,
      start: at,
      node: { shape },
    } of run) {
      places.destinations.set(writer, { buffer: piece, start: at - start, size: shape[0]! });
    }
    run = [];
  };
  for (const part of parts) {
    const { writer, start } = part;
    const isProduct = isPlainProduct(writer) && isSingle(writer);
    const isFull = run.length > 0 && endOf(part) - run[0]!.start > size / pieceCount;
    if (!isProduct || isFull) endRun();
    if (isProduct) run.push(part);
    else if (writer === part.node && writer.op === 'mul' && isSingle(writer)) {
      places.destinations.set(writer, { buffer: whole, start, size: writer.shape[0]! });
    }
  }
  endRun();
  places.joined.set(node as Node, { whole, pieces, parts });
  for (const [view, writer] of views) places.views.set(view, writer);
}

export function findPlacedResults(graph: Graph): PlacedResults {
  const uses = countUses(graph, { waits: false });
  const isSingle = (node: Node) => uses.get(node) === 1;
  const places: Places = { joined: new Map(), destinations: new Map(), views: new Map() };
  const transposed = new Map<Node, Shape>();
  for (const node of graph.nodes) {
    if (node.op === 'transpose') {
      const [x] = node.inputs;
      const { perm } = node.attrs;
      // The last dimension stays: a product's rows are written one by one.
      const isRows = perm.length === 3 && perm[2] === 2;
      if (isRows && x.op === 'matmul' && isSingle(x)) transposed.set(x, perm);
    }
    if (node.op !== 'concat') continue;
    if (node.shape.length === 1 && node.dtype === 'f32') placeVector(node, isSingle, places);
    else placeArray(node, isSingle, places);
  }
  return { ...places, transposed };
}
