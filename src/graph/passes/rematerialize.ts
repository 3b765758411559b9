/**
 * @file Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): inside a segment of the forward
 * pass nothing is kept for the backward pass; what it needs is computed again, when it needs it.
 */

import { sizeOf } from '../../tensor/shape.ts';
import { ancestorsOf } from '../ancestors-of.ts';
import type { Graph, Node } from '../ops.ts';

/**
 * The graph with the insides of segments recomputed behind barriers. Forward nodes are those that
 * `loss` is computed from; all others belong to the backward pass. Nodes must be in the order in
 * which differentiation made them.
 */
export function rematerialize(graph: Graph, loss: Node): Graph {
  const forward = ancestorsOf(loss);
  const inside = (node: Node) => node.segment !== undefined && forward.has(node);
  const leaving = new Set<Node>();
  for (const node of graph.nodes) {
    if (!forward.has(node)) continue;
    for (const input of node.inputs) {
      if (inside(input) && input.segment !== node.segment) leaving.add(input);
    }
  }
  const triggers = findTriggers(graph, forward, leaving);
  const out: Node[] = [];
  const replaced = new Map<Node, Node>();
  const twins = new Map<number, Map<Node, Node>>([...triggers.keys()].map((s) => [s, new Map()]));
  let nextId = 1 + graph.nodes.reduce((max, node) => Math.max(max, node.id), 0);

  const emit = (node: object): Node => {
    const made = { ...node, id: nextId++ } as unknown as Node;
    out.push(made);
    return made;
  };

  /** What stands for a forward node when a segment is computed again. */
  const recompute = (node: Node, segment: number): Node => {
    if (node.inputs.length === 0) return node;
    const known = twins.get(segment)!.get(node);
    if (known) return known;
    const trigger = triggers.get(segment)!;
    const after = replaced.get(trigger) ?? trigger;
    // A kept value waits at one barrier for all that read it in this segment.
    const delay = (value: Node) =>
      emit({ ...value, op: 'barrier', attrs: {}, inputs: [value, after] });
    let twin: Node;
    if (node.segment !== segment || leaving.has(node)) {
      twin = delay(node);
    } else {
      const inputs = node.inputs.map((input) => recompute(input, segment));
      const waits = inputs.some((input, i) => input !== node.inputs[i]);
      // A view of a leaf holds nothing.
      if (!waits && node.op === 'reshape') return node;
      const delayed = waits ? undefined : cheapestToDelay(node);
      if (delayed === node) twin = delay(node);
      else twin = emit({ ...node, inputs: inputs.map((x) => (x === delayed ? delay(x) : x)) });
    }
    twins.get(segment)!.set(node, twin);
    return twin;
  };

  for (const node of graph.nodes) {
    if (forward.has(node)) {
      out.push(node);
      continue;
    }
    const inputs = node.inputs.map((input) => {
      if (!inside(input) || leaving.has(input) || input === loss)
        return replaced.get(input) ?? input;
      return recompute(input, input.segment!);
    });
    replaced.set(node, emit({ ...node, inputs }));
  }
  const follow = (entries: ReadonlyMap<string, Node>) =>
    new Map([...entries].map(([name, node]) => [name, replaced.get(node) ?? node]));
  return { nodes: out, outputs: follow(graph.outputs), updates: follow(graph.updates) };
}

/**
 * A node none of whose inputs waits would be computed at once, and merged with its twin: what has
 * to wait instead is its smallest input, or itself where it is smaller than any of them.
 */
function cheapestToDelay(node: Node): Node {
  let cheapest = node;
  for (const input of node.inputs) {
    const isFloat = input.dtype === 'f32';
    if (isFloat && sizeOf(input.shape) <= sizeOf(cheapest.shape)) cheapest = input;
  }
  return cheapest;
}

/**
 * For each segment whose inside the backward pass reads: the value whose arrival starts the
 * recomputation, the last one before the first reader.
 */
function findTriggers(
  graph: Graph,
  forward: ReadonlySet<Node>,
  leaving: ReadonlySet<Node>,
): Map<number, Node> {
  const triggers = new Map<number, Node>();
  let latest: Node | undefined;
  for (const node of graph.nodes) {
    if (forward.has(node)) continue;
    for (const input of node.inputs) {
      const { segment } = input;
      if (segment === undefined || !forward.has(input) || leaving.has(input)) continue;
      if (!triggers.has(segment)) triggers.set(segment, latest ?? input);
    }
    latest = node;
  }
  return triggers;
}
