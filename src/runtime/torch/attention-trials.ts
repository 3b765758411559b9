/**
 * @file Which of libtorch's attention kernels is fastest on this GPU for the sizes of a network, and whether in
 * chunks: each way is tried, forward and backward, when a graph first asks. What is fastest differs by GPU
 * and by version of cuDNN, and not every kernel takes every size on every GPU.
 */

import { GraphBuilder } from '../../graph/graph-builder.ts';
import type { Graph, Node } from '../../graph/ops.ts';
import { compareRuns } from './agreement.ts';
import { type GraphTrial, OpenTrial, type TrialDevice } from './graph-trial.ts';
import {
  type AttentionChoice,
  type AttentionKernel,
  type AttentionSizes,
  type ComputeType,
  type LoweringTarget,
  unchunked,
} from './rules/rule.ts';

/** A later way has to gain more than the noise of a trial. */
const clearly = 1.03;
/** Queries from which on the choice is worth a trial: below, a step spends next to nothing in it. */
const manyQueries = 256;
/** Keys that are one or two blocks of a gradient's kernel, as the 77 of a caption. */
const fewKeys = 128;
/** Queries of a chunk at least: kernels take 64 or 128 at once (flash_bwd_launch_template.h). */
const leastRows = 64;
/** Blocks at most, four for each of the 132 multiprocessors of an H100 or H200. */
const mostBlocks = 4 * 132;
/** Numbers of chunks that are tried, each at most half of the one before. */
const triedCounts = 3;
/** Channels of the largest heads that are trained: larger ones are the VAE's. */
const mostTrained = 256;

/**
 * The kernels that may take heads of this size on an NVIDIA GPU, the surest first
 * (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp). Flash attention wants heads of a multiple of 8
 * channels, at most 256; cuDNN of at most 128, more than one key; both, 16-bit floats and Ampere or newer.
 */
function cudaKernels(sizes: AttentionSizes, compute: ComputeType, isOld: boolean) {
  const { channels, queries, keys } = sizes;
  const rest = ['efficient', 'composed'] as const;
  if (compute === 'f32') return { fused: [], rest: channels % 4 === 0 ? rest : [rest[1]] };
  if (channels % 8 !== 0) return { fused: [], rest: [rest[1]] };
  if (isOld) return { fused: [], rest };
  const cudnn = channels <= 128 && queries >= manyQueries && keys > 1;
  const flash = channels <= 256 ? (['flash'] as const) : [];
  return { fused: [...flash, ...(cudnn ? (['cudnn'] as const) : [])], rest };
}

/** Numbers of chunks that may be faster than none, the largest first; they divide the queries. */
function chunkCounts({ batch, heads, queries, keys, channels, causal }: AttentionSizes): number[] {
  if (causal || keys > fewKeys || queries < manyQueries || channels > mostTrained) return [];
  const counts: number[] = [];
  let most = Math.min(mostBlocks / (batch * heads), queries / leastRows);
  while (most >= 2 && counts.length < triedCounts) {
    let count = Math.floor(most);
    while (queries % count !== 0) count--;
    if (count > 1) counts.push(count);
    most = count / 2;
  }
  return counts;
}

/** What may be fastest on an NVIDIA GPU, the surest first. */
export function cudaChoices(
  sizes: AttentionSizes,
  compute: ComputeType,
  isOld = false,
): AttentionChoice[] {
  const { fused, rest } = cudaKernels(sizes, compute, isOld);
  const counts = chunkCounts(sizes);
  return [
    ...fused.map(unchunked),
    ...fused.flatMap((kernel) => counts.map((chunks) => ({ kernel, chunks }))),
    ...rest.map(unchunked),
  ];
}

/** Kernels that are slower than any before them, and taken only where none of those works. */
const lastResorts: ReadonlySet<AttentionKernel> = new Set(['efficient', 'composed']);

/**
 * What was found on a GPU. A process must not try twice: cuDNN's attention crashes where it is asked again
 * for sizes that it refused (aten/src/ATen/native/cudnn/MHA.cpp, to 2.14 at least, keeps an empty graph
 * for them).
 */
export interface AttentionFindings {
  /** By sizes and type. */
  readonly chosen: Map<string, AttentionChoice>;
  /** What kernels were asked for and did not do. */
  readonly refused: Set<string>;
}

export interface AttentionTrialsOptions extends TrialDevice {
  readonly target: Omit<LoweringTarget, 'attention' | 'compute'>;
  /** What to try, the surest first. */
  readonly choices: (sizes: AttentionSizes, compute: ComputeType) => readonly AttentionChoice[];
  /** Of trials before, and of those to come. */
  readonly findings?: AttentionFindings;
}

/** What a kernel is asked for: chunks are a larger batch of fewer queries. */
function asked({ kernel, chunks }: AttentionChoice, sizes: AttentionSizes, compute: ComputeType) {
  const { batch, queries } = sizes;
  const whole = { ...sizes, batch: batch * chunks, queries: queries / chunks };
  return JSON.stringify([kernel, whole, compute]);
}

/** Tokens of the last picture whose outputs and gradients are compared: the host has to read them. */
const comparedTokens = 512;

/**
 * The output and, where the network is trained, the gradients of q, k and v, which lie as in a network:
 * parts of one product, or q by itself where it is of other tokens. They are parameters, which have the type of
 * the computation, so that next to nothing but attention is timed.
 */
export function attentionTrialGraph({
  batch,
  queries,
  keys,
  channels,
  ...attrs
}: AttentionSizes): Graph {
  const g = new GraphBuilder();
  const width = attrs.heads * channels;
  const parts = (name: string, tokens: number, count: number) => {
    const whole = g.parameter(name, [batch, tokens, count * width]);
    return Array.from({ length: count }, (_, i) =>
      g.sliceAxis(whole, 2, i * width, (i + 1) * width),
    );
  };
  const qkv =
    queries === keys ? parts('qkv', keys, 3) : [...parts('q', queries, 1), ...parts('kv', keys, 2)];
  const [q, k, v] = qkv as [Node, Node, Node];
  const out = g.attention(q, k, v, attrs);
  const compared = (x: Node) => {
    const tokens = x.shape[1]!;
    const last = g.sliceAxis(x, 0, batch - 1, batch);
    const some = g.sliceAxis(last, 1, Math.max(0, tokens - comparedTokens), tokens);
    // Of a mere view, all would be turned to f32.
    return g.scale(some, 2);
  };
  if (channels > mostTrained) return g.build({ out: compared(out) });
  const ct = g.parameter('ct', [batch, queries, width]);
  const gradient = (wrt: 'q' | 'k' | 'v') =>
    compared(g.emit('attentionGrad', [q, k, v, out, ct], { ...attrs, wrt }));
  const [dq, dk, dv] = [gradient('q'), gradient('k'), gradient('v')];
  return g.build({ out: compared(out), dq, dk, dv });
}

interface Trial extends GraphTrial {
  readonly choice: AttentionChoice;
}

export class AttentionTrials {
  readonly #options: AttentionTrialsOptions;
  readonly #findings: AttentionFindings;

  constructor(options: AttentionTrialsOptions) {
    this.#options = options;
    this.#findings = options.findings ?? { chosen: new Map(), refused: new Set() };
  }

  /** @throws internal error where no kernel works */
  choose(sizes: AttentionSizes, compute: ComputeType): AttentionChoice {
    const { chosen } = this.#findings;
    const key = JSON.stringify([sizes, compute]);
    let choice = chosen.get(key);
    if (!choice) {
      choice = this.#compare(sizes, compute);
      chosen.set(key, choice);
    }
    return choice;
  }

  #compare(sizes: AttentionSizes, compute: ComputeType): AttentionChoice {
    const { library, choices, target } = this.#options;
    const candidates = choices(sizes, compute);
    if (candidates.length === 1) return candidates[0]!;
    const { refused } = this.#findings;
    const useless = new Set<AttentionKernel>();
    const trial = new OpenTrial(this.#options, attentionTrialGraph(sizes));
    let best: Trial | undefined;
    let reason: unknown;
    try {
      for (const choice of candidates) {
        const { kernel } = choice;
        if (best && lastResorts.has(kernel)) break;
        const key = asked(choice, sizes, compute);
        if (useless.has(kernel) || refused.has(key)) continue;
        try {
          const attention = () => choice;
          const made = library.quietly(() => trial.run({ ...target, attention, compute }));
          const agrees = !best || compareRuns(best.results, made.results) === 'same';
          const isFaster = !best || clearly * made.milliseconds < best.milliseconds;
          if (agrees && isFaster) best = { choice, ...made };
        } catch (error) {
          reason = error;
          refused.add(key);
          useless.add(kernel);
        }
      }
    } finally {
      trial.close();
    }
    if (!best) throw reason ?? new Error('internal: no kernel computes this attention');
    return best.choice;
  }
}
