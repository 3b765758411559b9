/**
 * @file Finds chains of elementwise operations on long vectors, as optimizers are made of, which one kernel
 * computes: it reads each vector once and writes what others want.
 */

import { ancestorsOf } from '../../graph/ancestors-of.ts';
import type { Graph, Node } from '../../graph/ops.ts';
import type { FusedProducts } from '../../graph/passes/find-fused-products.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { isLiteral, pointwiseOps } from './kernels/pointwise.ts';

/** Elements from which on it is worth a kernel of its own. */
const longVector = 2 ** 16;

export interface PointwiseChain {
  /** Vectors in the order in which they are computed; the last one stands for the chain. */
  readonly members: readonly Node[];
  /** Numbers that nobody else wants, in order. */
  readonly scalars: readonly Node[];
  /** Vectors and numbers that are read. */
  readonly inputs: readonly Node[];
  /** Members that others read. */
  readonly outputs: readonly Node[];
}

const isScalar = (node: Node) => sizeOf(node.shape) === 1;

type Cluster = Set<Node>;

class Finder {
  readonly #graph: Graph;
  readonly #products: FusedProducts;
  readonly #places = new Map<Node, number>();
  readonly #readers = new Map<Node, Node[]>();
  readonly #results: ReadonlySet<Node>;
  readonly #clusters = new Map<Node, Cluster>();
  readonly #ancestors = new Map<Node, ReadonlySet<Node>>();

  constructor(graph: Graph, products: FusedProducts) {
    this.#graph = graph;
    this.#products = products;
    this.#results = new Set([...graph.outputs.values(), ...graph.updates.values()]);
    for (const [i, node] of graph.nodes.entries()) {
      this.#places.set(node, i);
      for (const input of node.inputs) {
        this.#readers.set(input, [...(this.#readers.get(input) ?? []), node]);
      }
    }
  }

  find(): PointwiseChain[] {
    for (const node of this.#graph.nodes) if (this.#isMember(node)) this.#add(node);
    const clusters = new Set(this.#clusters.values());
    return [...clusters].filter(({ size }) => size > 1).map((cluster) => this.#chain(cluster));
  }

  #isMember(node: Node): boolean {
    return (
      pointwiseOps.has(node.op) &&
      node.shape.length === 1 &&
      node.shape[0]! >= longVector &&
      node.inputs.every((input) => isScalar(input) || `${input.shape}` === `${node.shape}`) &&
      !this.#products.byAddition.has(node)
    );
  }

  /** Joins a node with the clusters that it reads, as far as they can be computed at its place. */
  #add(node: Node): void {
    let cluster: Cluster = new Set([node]);
    for (const input of node.inputs) {
      const other = this.#clusters.get(input);
      if (!other || other === cluster) continue;
      const joined = new Set([...other, ...cluster]);
      if (this.#isWhole(joined, node)) cluster = joined;
    }
    for (const member of cluster) this.#clusters.set(member, cluster);
  }

  /** Whether nothing between the members is computed by others, nor wanted before the last one's place. */
  #isWhole(members: Cluster, last: Node): boolean {
    const place = this.#places.get(last)!;
    for (const member of members) {
      for (const reader of this.#readers.get(member) ?? []) {
        if (!members.has(reader) && this.#places.get(reader)! < place) return false;
      }
      for (const input of member.inputs) {
        if (members.has(input)) continue;
        const ancestors = this.#ancestorsOf(input);
        for (const each of members) if (ancestors.has(each)) return false;
      }
    }
    return true;
  }

  #ancestorsOf(node: Node): ReadonlySet<Node> {
    let found = this.#ancestors.get(node);
    if (!found) {
      found = ancestorsOf(node);
      this.#ancestors.set(node, found);
    }
    return found;
  }

  #chain(cluster: Cluster): PointwiseChain {
    const inOrder = (nodes: Iterable<Node>) =>
      [...nodes].sort((a, b) => this.#places.get(a)! - this.#places.get(b)!);
    const members = inOrder(cluster);
    const scalars = this.#ownScalars(cluster);
    const own = new Set([...cluster, ...scalars]);
    const inputs = new Set<Node>();
    for (const node of own) {
      for (const input of node.inputs) if (!own.has(input) && !isLiteral(input)) inputs.add(input);
    }
    const isWanted = (node: Node) =>
      this.#results.has(node) ||
      (this.#readers.get(node) ?? []).some((reader) => !cluster.has(reader));
    return {
      members,
      scalars: inOrder(scalars),
      inputs: inOrder(inputs),
      outputs: members.filter(isWanted),
    };
  }

  /** Numbers that are computed elementwise and read by the cluster alone. */
  #ownScalars(cluster: Cluster): Set<Node> {
    const own = new Set<Node>();
    for (const node of this.#graph.nodes.toReversed()) {
      if (!isScalar(node) || !pointwiseOps.has(node.op) || this.#results.has(node)) continue;
      const readers = this.#readers.get(node) ?? [];
      const isOwn = readers.every((reader) => cluster.has(reader) || own.has(reader));
      if (isOwn && readers.length > 0 && node.inputs.every(isScalar)) own.add(node);
    }
    return own;
  }
}

/** `products` are the additions that matrix products take over. */
export const findPointwise = (graph: Graph, products: FusedProducts): PointwiseChain[] =>
  new Finder(graph, products).find();
