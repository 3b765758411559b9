/** @file Random graphs full of what passes simplify: constants, repeats, reshapes, zeros and ones. */

import { grad } from '../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../src/graph/ops.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { broadcastShapes, sizeOf } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import { total } from './op-case-graph.ts';

export interface RandomGraph {
  readonly graph: Graph;
  readonly feeds: Readonly<Record<string, Tensor<'f32'>>>;
}

/** One more node, from random nodes of the pool; `undefined` where they do not fit. */
function grow(g: GraphBuilder, rng: Rng, pool: readonly Node[]): Node | undefined {
  const pick = () => pool[rng.integer(pool.length)]!;
  const a = pick();
  const b = pick();
  const axis = rng.integer(Math.max(1, a.shape.length));
  const fits = broadcastShapes(a.shape, b.shape) !== null;
  switch (rng.integer(14)) {
    case 0:
      return fits ? g.add(a, b) : undefined;
    case 1:
      return fits ? g.sub(a, b) : undefined;
    case 2:
      return fits ? g.mul(a, b) : undefined;
    case 3:
      return g.div(a, g.constant(1 + rng.integer(2)));
    case 4:
      return g.add(a, g.constant(0, rng.integer(2) ? a.shape : []));
    case 5:
      return g.mul(g.constant(1, rng.integer(2) ? [] : [1, 1, 1]), a);
    case 6:
      return g.reshape(a, rng.integer(2) ? [sizeOf(a.shape)] : [1, ...a.shape]);
    case 7:
      return a.shape.length > 0 ? g.sum(a, [axis]) : undefined;
    case 8:
      return g.transpose(a, rng.shuffled(a.shape.map((_, i) => i)));
    case 9:
      return a.shape.length > 0 ? g.concat([a, a], axis) : undefined;
    case 10:
      return a.shape.length > 0
        ? g.sliceAxis(a, axis, 0, 1 + rng.integer(a.shape[axis]!))
        : undefined;
    case 11:
      return a.shape.length > 0
        ? g.pad(
            a,
            a.shape.map(() => rng.integer(2)),
            a.shape.map(() => 0),
          )
        : undefined;
    case 12:
      return g.expand(a, rng.integer(2) ? a.shape : [2, ...a.shape]);
    default:
      return g.sigmoid(rng.integer(2) ? a : g.barrier(a, b));
  }
}

/** The sum of some random nodes, and its gradients with respect to two leaves. */
export function randomGraph(seed: number): RandomGraph {
  const rng = new Rng(seed, 'random graph');
  const g = new GraphBuilder();
  const feeds = { x: f32([2, 3], rng.normals(6)), y: f32([3], rng.normals(3)) };
  const leaves: Node[] = [g.input('x', [2, 3]), g.input('y', [3])];
  const pool: Node[] = [
    ...leaves,
    g.constant(1),
    g.constant(0),
    g.constant(-2, [2, 3]),
    g.constant([1, 2, 3], [3]),
    g.constant([1, 1, 1], [3]),
  ];
  while (pool.length < 40) {
    const node = grow(g, rng, pool);
    if (node && sizeOf(node.shape) <= 200) pool.push(node);
  }
  const results = rng.shuffled(pool).slice(0, 12);
  const loss = results
    .map((node) => total(g, g.sigmoid(node)))
    .reduce((sum, node) => g.add(sum, node));
  const outputs: Record<string, Node> = { loss };
  for (const [i, node] of results.entries()) outputs[`result${i}`] = node;
  for (const [i, gradient] of grad(g, loss, leaves).entries()) {
    if (gradient) outputs[`gradient${i}`] = gradient;
  }
  return { graph: g.build(outputs), feeds: usedFeeds(g.build(outputs), feeds) };
}

function usedFeeds(
  graph: Graph,
  feeds: Readonly<Record<string, Tensor<'f32'>>>,
): Record<string, Tensor<'f32'>> {
  const used = graph.nodes.flatMap((node) => (node.op === 'input' ? [node.attrs.name] : []));
  return Object.fromEntries(used.map((name) => [name, feeds[name]!]));
}
