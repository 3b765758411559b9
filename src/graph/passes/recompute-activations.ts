/**
 * @file Computes again what costs next to nothing instead of keeping it for the backward pass:
 * activations, their products, and layer norms, of values that are kept anyway.
 */

import { sizeOf } from '../../tensor/shape.ts';
import { ancestorsOf } from '../ancestors-of.ts';
import type { Graph, Node } from '../ops.ts';

/** Kinds of which an engine computes one for about what it takes to read and write the values. */
const cheapKinds: ReadonlySet<Node['op']> = new Set([
  'gelu',
  'quickGelu',
  'silu',
  'mul',
  'layerNorm',
]);
/** Kinds that hand on their input's bytes. */
const views: ReadonlySet<Node['op']> = new Set(['reshape', 'transpose', 'slice', 'barrier']);

function ownerOf(node: Node): Node {
  let owner = node;
  while (views.has(owner.op)) owner = owner.inputs[0]!;
  return owner;
}

/**
 * The graph with cheap forward values computed again where the backward pass first reads them. Forward
 * nodes are those that `loss` is computed from, and only those of checkpointing segments are looked at.
 * Nodes must be in the order in which differentiation made them.
 */
export function recomputeActivations(graph: Graph, loss: Node): Graph {
  const forward = ancestorsOf(loss);
  const readInBackward = new Set(
    graph.nodes.filter((node) => !forward.has(node)).flatMap((node) => node.inputs.map(ownerOf)),
  );
  const isCheap = (node: Node) =>
    cheapKinds.has(node.op) && node.segment !== undefined && forward.has(node);
  /** What a twin needs is there anyway, or is computed again itself. */
  const canRecompute = (node: Node): boolean =>
    isCheap(node) &&
    node.inputs.every((input) => {
      const owner = ownerOf(input);
      return owner.inputs.length === 0 || readInBackward.has(owner) || canRecompute(input);
    });

  const out: Node[] = [];
  const replaced = new Map<Node, Node>();
  const twins = new Map<Node, Node>();
  let latest: Node = loss;
  let nextId = 1 + graph.nodes.reduce((max, node) => Math.max(max, node.id), 0);
  const emit = (node: object): Node => {
    const made = { ...node, id: nextId++ } as unknown as Node;
    out.push(made);
    return made;
  };
  const twinOf = (node: Node): Node => {
    const known = twins.get(node);
    if (known) return known;
    const again = node.inputs.map((input) => (canRecompute(input) ? twinOf(input) : input));
    const isNew = again.some((input, i) => input !== node.inputs[i]);
    // Behind a barrier it is not the node that is there already.
    const largest = again.reduce((a, b) => (sizeOf(b.shape) > sizeOf(a.shape) ? b : a));
    const delay = (value: Node) =>
      emit({ ...value, op: 'barrier', attrs: {}, inputs: [value, latest] });
    const inputs = isNew ? again : again.map((x) => (x === largest ? delay(x) : x));
    const twin = emit({ ...node, inputs });
    twins.set(node, twin);
    return twin;
  };
  for (const node of graph.nodes) {
    if (forward.has(node)) {
      out.push(node);
      continue;
    }
    const inputs = node.inputs.map((input) =>
      canRecompute(input) ? twinOf(input) : (replaced.get(input) ?? input),
    );
    latest = emit({ ...node, inputs });
    replaced.set(node, latest);
  }
  const follow = (entries: ReadonlyMap<string, Node>) =>
    new Map([...entries].map(([name, node]) => [name, replaced.get(node) ?? node]));
  return { nodes: out, outputs: follow(graph.outputs), updates: follow(graph.updates) };
}
