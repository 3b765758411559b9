/**
 * @file How much memory a run will take, before it is started: the weights that its graphs read, and
 * the largest sum of values that are alive at once in a training step.
 */

import { type Graph, isNamedLeaf, type Node } from '../graph/ops.ts';
import { runPasses } from '../graph/passes/run-passes.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { sizeOf } from '../tensor/shape.ts';
import { gradientGraph, type StepModel, type StepOptions, type StepShape } from './lora-step.ts';

const bytesPerFloat = 4;

/** Bytes by what they are for. */
export interface MemoryEstimate {
  /** Frozen weights of the networks that are trained through, f32. */
  readonly weights: number;
  /** The second copy of convolution kernels that makes their gradients fast. */
  readonly flippedKernels: number;
  /** The adapter, its gradient and AdamW's moments; those that a step updates count twice. */
  readonly adapter: number;
  /** Values that are alive at once inside a step. */
  readonly activations: number;
  /** The program itself, the engine and its buffers. */
  readonly program: number;
  readonly total: number;
}

export interface MemoryOptions extends StepOptions {
  readonly flipWeights: boolean;
}

/** Resident size of Node with ONNX Runtime, sharp and the tokenizer loaded, measured. */
const programBytes = 250e6;

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
export function peakActivationBytes({ nodes, outputs, updates }: Graph): number {
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

/** Bytes of the frozen weights that a graph reads, and of its convolution kernels alone. */
function weightBytes({ nodes }: Graph): { readonly all: number; readonly flipped: number } {
  let all = 0;
  let flipped = 0;
  const seen = new Set<string>();
  for (const node of nodes) {
    if (node.op === 'parameter' && !seen.has(node.attrs.name)) {
      seen.add(node.attrs.name);
      all += bytesPerFloat * sizeOf(node.shape);
    }
    if (node.op !== 'conv2dInputGrad') continue;
    const kernel = node.inputs[1];
    const first = kernel.op === 'parameter' && !seen.has(`flipped ${kernel.attrs.name}`);
    if (!first) continue;
    seen.add(`flipped ${kernel.attrs.name}`);
    flipped += bytesPerFloat * sizeOf(kernel.shape);
  }
  return { all, flipped };
}

/**
 * The memory of training at one batch shape, the largest of the run.
 *
 * Not known here: what the engine needs inside one operation, and what it keeps to use again; the
 * true peak is somewhat higher.
 */
export function estimateMemory(
  model: StepModel,
  layouts: readonly LoraLayout[],
  shape: StepShape,
  { flipWeights, ...options }: MemoryOptions,
): MemoryEstimate {
  const graph = runPasses(gradientGraph(model, layouts, shape, options));
  const { all: weights, flipped } = weightBytes(graph);
  const values = layouts.reduce((sum, { size }) => sum + size, 0);
  // Factors, gradient and two moments, each with the copy that the next value is written to.
  const adapter = 2 * 4 * values * bytesPerFloat;
  const activations = peakActivationBytes(graph);
  const flippedKernels = flipWeights ? flipped : 0;
  const total = weights + flippedKernels + adapter + activations + programBytes;
  return { weights, flippedKernels, adapter, activations, program: programBytes, total };
}
