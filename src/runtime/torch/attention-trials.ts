/**
 * @file Which of libtorch's attention kernels is fastest on this GPU for the sizes of a network: each is
 * tried, forward and backward, when a graph first asks. What is fastest differs by GPU and by version of
 * cuDNN, and not every kernel takes every size on every GPU.
 */

import { grad } from '../../graph/autodiff/grad.ts';
import { GraphBuilder } from '../../graph/graph-builder.ts';
import type { Node } from '../../graph/ops.ts';
import { compareRuns } from './agreement.ts';
import type { DeviceMemory } from './device-memory.ts';
import { type GraphTrial, tryGraph } from './graph-trial.ts';
import type { AttentionKernel, AttentionSizes, ComputeType, LoweringTarget } from './rules/rule.ts';
import type { TorchLibrary } from './torch-library.ts';

/** A later kernel has to gain more than the noise of a trial. */
const clearly = 1.05;
/** Queries from which on the choice is worth a trial: below, a step spends next to nothing in it. */
const manyQueries = 1024;

/**
 * The kernels that may take heads of this size on an NVIDIA GPU, the surest first
 * (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp). Flash attention wants heads of a multiple of 8
 * channels, at most 256; cuDNN of at most 128, more than one key; both, 16-bit floats and Ampere or newer.
 */
export function cudaKernels(
  sizes: AttentionSizes,
  compute: ComputeType,
  isOld = false,
): AttentionKernel[] {
  const { channels, queries, keys } = sizes;
  if (compute === 'f32') return channels % 4 === 0 ? ['efficient', 'composed'] : ['composed'];
  if (channels % 8 !== 0) return ['composed'];
  if (isOld) return ['efficient', 'composed'];
  const cudnn = channels <= 128 && queries >= manyQueries && keys > 1;
  return [
    ...(channels <= 256 ? (['flash'] as const) : []),
    ...(cudnn ? (['cudnn'] as const) : []),
    'efficient',
    'composed',
  ];
}

/** Kernels that are slower than any before them, and taken only where none of those works. */
const lastResorts: ReadonlySet<AttentionKernel> = new Set(['efficient', 'composed']);

export interface AttentionTrialsOptions {
  readonly library: TorchLibrary;
  readonly memory: DeviceMemory;
  readonly target: Omit<LoweringTarget, 'attention' | 'compute'>;
  /** The kernels to try, the surest first. */
  readonly kernels: (sizes: AttentionSizes, compute: ComputeType) => readonly AttentionKernel[];
  /**
   * What was chosen for these kernels before, and will be. A process must not try twice on one GPU:
   * cuDNN's attention crashes where it is asked again for sizes that it refused
   * (aten/src/ATen/native/cudnn/MHA.cpp, to 2.14 at least, keeps an empty graph for them).
   */
  readonly chosen?: Map<string, AttentionKernel>;
}

/** Channels of the largest heads that are trained: larger ones are the VAE's. */
const mostTrained = 256;

/**
 * The output and, where the network is trained, the gradients of q, k and v, which lie as in a network:
 * parts of one product, or q by itself where it is of other tokens.
 */
function trialGraph({ batch, queries, keys, channels, ...attrs }: AttentionSizes) {
  const g = new GraphBuilder();
  const width = attrs.heads * channels;
  const parts = (name: string, tokens: number, count: number) => {
    const whole = g.input(name, [batch, tokens, count * width]);
    return Array.from({ length: count }, (_, i) =>
      g.sliceAxis(whole, 2, i * width, (i + 1) * width),
    );
  };
  const qkv =
    queries === keys ? parts('qkv', keys, 3) : [...parts('q', queries, 1), ...parts('kv', keys, 2)];
  const [q, k, v] = qkv as [Node, Node, Node];
  const out = g.attention(q, k, v, attrs);
  if (channels > mostTrained) return g.build({ out });
  const ct = g.input('ct', [batch, queries, width]);
  const [dq, dk, dv] = grad(g, g.sum(g.mul(out, ct), [0, 1, 2]), [q, k, v]);
  return g.build({ out, dq: dq!, dk: dk!, dv: dv! });
}

interface Trial extends GraphTrial {
  readonly kernel: AttentionKernel;
}

export class AttentionTrials {
  readonly #options: AttentionTrialsOptions;
  readonly #chosen: Map<string, AttentionKernel>;

  constructor(options: AttentionTrialsOptions) {
    this.#options = options;
    this.#chosen = options.chosen ?? new Map();
  }

  /** @throws internal error where no kernel works */
  choose(sizes: AttentionSizes, compute: ComputeType): AttentionKernel {
    const key = JSON.stringify([sizes, compute]);
    let kernel = this.#chosen.get(key);
    if (!kernel) {
      kernel = this.#compare(sizes, compute);
      this.#chosen.set(key, kernel);
    }
    return kernel;
  }

  #compare(sizes: AttentionSizes, compute: ComputeType): AttentionKernel {
    const candidates = this.#options.kernels(sizes, compute);
    if (candidates.length === 1) return candidates[0]!;
    let best: Trial | undefined;
    let reason: unknown;
    for (const kernel of candidates) {
      if (best && lastResorts.has(kernel)) break;
      try {
        const trial = this.#options.library.quietly(() => this.#try(kernel, sizes, compute));
        const agrees = !best || compareRuns(best.results, trial.results) === 'same';
        if (!best || (agrees && clearly * trial.milliseconds < best.milliseconds)) best = trial;
      } catch (error) {
        reason = error;
      }
    }
    if (!best) throw reason;
    return best.kernel;
  }

  #try(kernel: AttentionKernel, sizes: AttentionSizes, compute: ComputeType): Trial {
    const { library, memory, target } = this.#options;
    const attention = () => kernel;
    return {
      kernel,
      ...tryGraph(
        { library, memory, target: { ...target, attention, compute } },
        trialGraph(sizes),
      ),
    };
  }
}
