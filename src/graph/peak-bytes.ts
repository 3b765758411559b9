/** @file The largest sum of values that are alive at once when a graph is computed in order. */

import { sizeOf } from '../tensor/shape.ts';
import { type Graph, isNamedLeaf, type Node } from './ops.ts';

const bytesPerFloat = 4;

/** Kinds that hand on their input's bytes. */
const views: ReadonlySet<Node['op']> = new Set(['reshape', 'barrier']);

/** Scores of attention that are held at once by its gradient, which goes through them in parts. */
const scoresAtOnce = 8 * 1024 * 1024;

/** Bytes that an operation takes and gives back: the scores of attention and their gradient. */
function workspaceBytes(node: Node): number {
  if (node.op !== 'attentionGrad') return 0;
  const [q, k] = node.inputs;
  const scores = q.shape[0]! * node.attrs.heads * q.shape[1]! * k.shape[1]!;
  return 2 * bytesPerFloat * Math.min(scores, scoresAtOnce);
}

/** The node whose bytes `node` shows. */
function ownerOf(node: Node): Node {
  let owner = node;
  while (views.has(owner.op)) owner = owner.inputs[0]!;
  return owner;
}

/**
 * The largest number of bytes that are alive at once when the nodes are computed in order and each
 * value is dropped after its last reader. Leaves are not counted: they are there all the time.
 */
export function peakValueBytes({ nodes, outputs, updates }: Graph): number {
  const kept = new Set([...outputs.values(), ...updates.values()].map(ownerOf));
  const lastUse = new Map<Node, number>();
  for (const [i, node] of nodes.entries()) {
    for (const value of [node, ...node.inputs]) lastUse.set(ownerOf(value), i);
  }
  const dying = nodes.map((): Node[] => []);
  for (const [node, i] of lastUse) if (!kept.has(node)) dying[i]!.push(node);
  const bytes = (node: Node) =>
    isNamedLeaf(node) || node.op === 'constant' ? 0 : bytesPerFloat * sizeOf(node.shape);
  let alive = 0;
  let peak = 0;
  for (const [i, node] of nodes.entries()) {
    if (ownerOf(node) === node) alive += bytes(node);
    peak = Math.max(peak, alive + workspaceBytes(node));
    for (const dead of dying[i]!) alive -= bytes(dead);
  }
  return peak;
}
