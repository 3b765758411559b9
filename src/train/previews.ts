/** @file Pictures of a run in training: fixed prompts and seeds, sampled with the adapter as it is. */

import { unetFeeds, wholeFrame } from '../models/networks.ts';
import type { Executable, Executor, Values } from '../runtime/executor.ts';
import { Rng } from '../tensor/rng.ts';
import { sizeOf } from '../tensor/shape.ts';
import { f32 } from '../tensor/tensor.ts';
import type { NoiseSchedule } from './noise-schedule.ts';
import {
  latentShape,
  type PreviewModel,
  type PreviewSize,
  pairShape,
  previewDecoderGraph,
  previewTextGraph,
  previewUnetGraph,
} from './preview-graphs.ts';
import { sampleDdim } from './samplers/ddim.ts';
import { sampleEulerAncestral } from './samplers/euler.ts';
import { classifierFreeGuidance, type DenoisePair } from './samplers/sampler.ts';
import {
  areWeighed,
  type FrozenTextEncoder,
  type TextOptions,
  tokenFeeds,
} from './text-encoding.ts';

/** One picture to be made. */
export interface PreviewRequest {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly seed: number;
}

export interface PreviewOptions extends PreviewModel, PreviewSize {
  readonly executor: Executor;
  readonly schedule: NoiseSchedule;
  readonly text: TextOptions;
  /** Has the texts where no text encoder is adapted; they are encoded with the adapter unless given. */
  readonly frozenText?: FrozenTextEncoder | undefined;
  readonly sampler: 'ddim' | 'euler_a';
  readonly steps: number;
  readonly guidanceScale: number;
}

/** A picture, rows of red, green and blue bytes. */
export interface PreviewImage {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** Compiles the networks for one size; `dispose` gives their memory back. */
export class PreviewSampler {
  readonly #options: PreviewOptions;
  readonly #text = new Map<string, Executable>();
  readonly #unet = new Map<number, Executable>();
  #decoder: Executable | undefined;

  constructor(options: PreviewOptions) {
    this.#options = options;
  }

  /** Samples one picture. The same request and the same factors give the same picture. */
  async sample(request: PreviewRequest): Promise<PreviewImage> {
    return this.decode(await this.latents(request));
  }

  /** A picture's latents, for `decode`. */
  async latents({ prompt, negativePrompt, seed }: PreviewRequest): Promise<Float32Array> {
    const { schedule, steps, sampler, guidanceScale } = this.#options;
    const text = await this.#encode([negativePrompt, prompt]);
    const size = sizeOf(latentShape(this.#options));
    const noise = new Rng(seed, 'preview').normals(size);
    const denoise = classifierFreeGuidance(await this.#denoiser(text), guidanceScale);
    const options = {
      schedule,
      steps,
      noise,
      denoise,
      predictionType: this.#options.model.predictionType,
    };
    return sampler === 'ddim'
      ? sampleDdim(options)
      : sampleEulerAncestral({
          ...options,
          stepNoise: (step) => new Rng(seed, 'preview-step', step).normals(size),
        });
  }

  /** Gives back what latents are made with, before pictures are decoded, which takes as much again. */
  async endSampling(): Promise<void> {
    for (const graph of [...this.#text.values(), ...this.#unet.values()]) await graph.dispose();
    this.#text.clear();
    this.#unet.clear();
  }

  async dispose(): Promise<void> {
    await this.endSampling();
    await this.#decoder?.dispose();
    this.#decoder = undefined;
  }

  /** Words always weigh what their brackets say: prompts are written as clients read them. */
  async #encode(prompts: readonly string[]): Promise<Values> {
    const { executor, model, text, frozenText } = this.#options;
    if (frozenText) return frozenText.encode(prompts, true);
    const all = tokenFeeds(model.family, prompts, { ...text, emphasis: true });
    const emphasis = areWeighed(all);
    const { tokenWeights: _tokenWeights, ...plain } = all;
    const feeds = emphasis ? all : plain;
    const chunks = feeds['ids']!.shape[1]!;
    const key = `${chunks}${emphasis ? ' weighed' : ''}`;
    let graph = this.#text.get(key);
    if (!graph) {
      const { clipSkip } = text;
      const options = { chunks, clipSkip, emphasis };
      graph = await executor.compile(previewTextGraph(this.#options, options));
      this.#text.set(key, graph);
    }
    return graph.run(feeds);
  }

  /** Both predictions in one batch: without the prompt, then with it. */
  async #denoiser(text: Values): Promise<DenoisePair> {
    const { executor, model } = this.#options;
    const tokens = text['context']!.shape[1]!;
    let graph = this.#unet.get(tokens);
    if (!graph) {
      graph = await executor.compile(previewUnetGraph(this.#options, tokens));
      this.#unet.set(tokens, graph);
    }
    const executable = graph;
    const frame = wholeFrame(this.#options);
    return async (x, timestep) => {
      const latents = new Float32Array(2 * x.length);
      latents.set(x);
      latents.set(x, x.length);
      const conditions = unetFeeds(model, [timestep, timestep], [frame, frame]);
      const { out } = await executable.run({
        latents: f32(pairShape(this.#options), latents),
        ...conditions,
        ...text,
      });
      const data = out!.data as Float32Array;
      return { uncond: data.subarray(0, x.length), cond: data.subarray(x.length) };
    };
  }

  /** The picture of `latents`. */
  async decode(latents: Float32Array): Promise<PreviewImage> {
    const { executor, model, width, height } = this.#options;
    this.#decoder ??= await executor.compile(previewDecoderGraph(this.#options), {
      wideRange: true,
    });
    const scaled = latents.map((value) => value / model.family.latentScale);
    const { image } = await this.#decoder.run({ latents: f32(latentShape(this.#options), scaled) });
    return { width, height, rgb: toBytes(image!.data as Float32Array, width * height) };
  }
}

/** [3, area] in [-1, 1] to interleaved bytes. */
function toBytes(planes: Float32Array, area: number): Uint8Array {
  const rgb = new Uint8Array(3 * area);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < area; i++) {
      const value = Math.round((planes[c * area + i]! + 1) * 127.5);
      rgb[3 * i + c] = Math.min(255, Math.max(0, value));
    }
  }
  return rgb;
}
