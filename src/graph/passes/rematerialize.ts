/**
 * @file Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): inside a segment of the forward
 * pass nothing is kept for the backward pass; what it needs is computed again, when it needs it.
 */

import type { Graph, Node } from '../ops.ts';

interface SegmentPlan {
  /** First node of the backward pass that reads the inside of the segment. */
  readonly firstUser: Node;
  /** The value whose arrival starts the recomputation. */
  readonly trigger: Node;
}

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
  const plans = planSegments(graph, forward, leaving);
  const out: Node[] = [];
  const replaced = new Map<Node, Node>();
  const clones = new Map<Node, Node>();
  let nextId = 1 + graph.nodes.reduce((max, node) => Math.max(max, node.id), 0);

  /** The recomputed twin of a forward node of this segment, or the node itself where it is kept. */
  const recompute = (node: Node, segment: number): Node => {
    if (node.inputs.length === 0 || !forward.has(node)) return node;
    const known = clones.get(node);
    if (known) return known;
    const trigger = plans.get(segment)!.trigger;
    const after = replaced.get(trigger) ?? trigger;
    const keep = node.segment !== segment;
    const inputs = keep ? [node, after] : node.inputs.map((input) => recompute(input, segment));
    const twin = {
      ...node,
      id: nextId++,
      ...(keep ? { op: 'barrier', attrs: {} } : {}),
      inputs,
    } as unknown as Node;
    // A value from outside waits at a barrier of each segment that reads it.
    if (!keep) clones.set(node, twin);
    out.push(twin);
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
    const moved = { ...node, id: nextId++, inputs } as unknown as Node;
    replaced.set(node, moved);
    out.push(moved);
  }
  const follow = (entries: ReadonlyMap<string, Node>) =>
    new Map([...entries].map(([name, node]) => [name, replaced.get(node) ?? node]));
  return { nodes: out, outputs: follow(graph.outputs), updates: follow(graph.updates) };
}

function ancestorsOf(node: Node): Set<Node> {
  const seen = new Set<Node>([node]);
  const pending = [node];
  while (pending.length > 0) {
    for (const input of pending.pop()!.inputs) {
      if (seen.has(input)) continue;
      seen.add(input);
      pending.push(input);
    }
  }
  return seen;
}

function planSegments(
  graph: Graph,
  forward: ReadonlySet<Node>,
  leaving: ReadonlySet<Node>,
): Map<number, SegmentPlan> {
  const plans = new Map<number, SegmentPlan>();
  let latest: Node | undefined;
  for (const node of graph.nodes) {
    if (forward.has(node)) continue;
    for (const input of node.inputs) {
      const { segment } = input;
      if (segment === undefined || !forward.has(input) || leaving.has(input)) continue;
      if (!plans.has(segment)) plans.set(segment, { firstUser: node, trigger: latest ?? input });
    }
    latest = node;
  }
  return plans;
}
