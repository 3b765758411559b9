/** @file Pictures of a run in training: fixed prompts and seeds, sampled with the adapter as it is. */

import { GraphBuilder } from '../graph/graph-builder.ts';
import { loraAdapter } from '../lora/lora-adapter.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { networkScope } from '../models/layers.ts';
import {
  encodedText,
  fedText,
  predict,
  textOutputs,
  unetFeeds,
  wholeFrame,
} from '../models/networks.ts';
import { vaeDecoder } from '../models/vae.ts';
import type { Executable, Executor, Values } from '../runtime/executor.ts';
import { Rng } from '../tensor/rng.ts';
import { f32 } from '../tensor/tensor.ts';
import type { StepModel } from './lora-step.ts';
import type { NoiseSchedule } from './noise-schedule.ts';
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

export interface PreviewOptions {
  readonly executor: Executor;
  readonly model: StepModel;
  /** Empty: the base model as it is. */
  readonly layouts: readonly LoraLayout[];
  readonly schedule: NoiseSchedule;
  readonly text: TextOptions;
  /** Has the texts where no text encoder is adapted; they are encoded with the adapter unless given. */
  readonly frozenText?: FrozenTextEncoder | undefined;
  readonly sampler: 'ddim' | 'euler_a';
  readonly steps: number;
  readonly guidanceScale: number;
  /** Pixels, multiples of 8. */
  readonly width: number;
  readonly height: number;
  /** Strength of the adapter; 1 unless given. */
  readonly multiplier?: number;
}

/** A picture, rows of red, green and blue bytes. */
export interface PreviewImage {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** Elements of one picture's latents. */
function latentShape({ width, height }: PreviewOptions): readonly number[] {
  return [1, 4, height / 8, width / 8];
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
  async sample({ prompt, negativePrompt, seed }: PreviewRequest): Promise<PreviewImage> {
    const { schedule, steps, sampler, guidanceScale } = this.#options;
    const text = await this.#encode([negativePrompt, prompt]);
    const size = latentShape(this.#options).reduce((n, d) => n * d, 1);
    const noise = new Rng(seed, 'preview').normals(size);
    const denoise = classifierFreeGuidance(await this.#denoiser(text), guidanceScale);
    const options = {
      schedule,
      steps,
      noise,
      denoise,
      predictionType: this.#options.model.predictionType,
    };
    const latents =
      sampler === 'ddim'
        ? await sampleDdim(options)
        : await sampleEulerAncestral({
            ...options,
            stepNoise: (step) => new Rng(seed, 'preview-step', step).normals(size),
          });
    return this.#decode(latents);
  }

  async dispose(): Promise<void> {
    for (const graph of [...this.#text.values(), ...this.#unet.values()]) await graph.dispose();
    await this.#decoder?.dispose();
    this.#text.clear();
    this.#unet.clear();
    this.#decoder = undefined;
  }

  /** Words always weigh what their brackets say: prompts are written as clients read them. */
  async #encode(prompts: readonly string[]): Promise<Values> {
    const { executor, model, layouts, frozenText } = this.#options;
    if (frozenText) return frozenText.encode(prompts, true);
    const all = tokenFeeds(model.family, prompts, { ...this.#options.text, emphasis: true });
    const emphasis = areWeighed(all);
    const { tokenWeights: _tokenWeights, ...plain } = all;
    const feeds = emphasis ? all : plain;
    const text = { ...this.#options.text, emphasis };
    const chunks = feeds['ids']!.shape[1]!;
    const key = `${chunks}${emphasis ? ' weighed' : ''}`;
    let graph = this.#text.get(key);
    if (!graph) {
      const g = new GraphBuilder();
      const adapter = this.#adapter(g, layouts);
      const shape = { batch: prompts.length, chunks };
      const encoded = encodedText(g, model, shape, { ...text, adapter });
      graph = await executor.compile(g.build(textOutputs(encoded)));
      this.#text.set(key, graph);
    }
    return graph.run(feeds);
  }

  /** Both predictions in one batch: without the prompt, then with it. */
  async #denoiser(text: Values): Promise<DenoisePair> {
    const { executor, model, layouts } = this.#options;
    const [, ...latent] = latentShape(this.#options);
    const shape = [2, ...latent];
    const tokens = text['context']!.shape[1]!;
    let graph = this.#unet.get(tokens);
    if (!graph) {
      const g = new GraphBuilder();
      const adapter = this.#adapter(g, layouts);
      const conditions = fedText(g, model, { batch: 2, tokens });
      const out = predict(g, model, g.input('latents', shape), conditions, { adapter });
      graph = await executor.compile(g.build({ out }));
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
        latents: f32(shape, latents),
        ...conditions,
        ...text,
      });
      const data = out!.data as Float32Array;
      return { uncond: data.subarray(0, x.length), cond: data.subarray(x.length) };
    };
  }

  async #decode(latents: Float32Array): Promise<PreviewImage> {
    const { executor, model, width, height } = this.#options;
    if (!this.#decoder) {
      const g = new GraphBuilder();
      const scope = networkScope(g, model.shapes, 'vae');
      const input = g.input('latents', latentShape(this.#options));
      const graph = g.build({ image: vaeDecoder(scope, input) });
      this.#decoder = await executor.compile(graph, { wideRange: true });
    }
    const scaled = latents.map((value) => value / model.family.latentScale);
    const { image } = await this.#decoder.run({ latents: f32(latentShape(this.#options), scaled) });
    return { width, height, rgb: toBytes(image!.data as Float32Array, width * height) };
  }

  #adapter(g: GraphBuilder, layouts: readonly LoraLayout[]) {
    const { multiplier = 1 } = this.#options;
    return layouts.length > 0 ? loraAdapter(g, layouts, { multiplier }) : undefined;
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
