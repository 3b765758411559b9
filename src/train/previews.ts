/** @file Pictures of a run in training: fixed prompts and seeds, sampled with the adapter as it is. */

import { GraphBuilder } from '../graph/graph-builder.ts';
import { loraAdapter } from '../lora/lora-adapter.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { textContext } from '../models/clip-text-model.ts';
import { clipPositions } from '../models/clip-tokenizer.ts';
import { networkScope } from '../models/layers.ts';
import { unetHeads } from '../models/sd1/sizes.ts';
import { timestepEmbedding } from '../models/timestep-embedding.ts';
import { unet } from '../models/unet.ts';
import { latentScale, vaeDecoder } from '../models/vae.ts';
import type { Executable, Executor } from '../runtime/executor.ts';
import { Rng } from '../tensor/rng.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import type { StepModel } from './lora-step.ts';
import type { NoiseSchedule } from './noise-schedule.ts';
import { sampleDdim } from './samplers/ddim.ts';
import { sampleEulerAncestral } from './samplers/euler.ts';
import { classifierFreeGuidance, type DenoisePair } from './samplers/sampler.ts';
import { type TextOptions, tokenizeBatch } from './text-encoding.ts';

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
  readonly #text = new Map<number, Executable>();
  readonly #unet = new Map<number, Executable>();
  #decoder: Executable | undefined;

  constructor(options: PreviewOptions) {
    this.#options = options;
  }

  /** Samples one picture. The same request and the same factors give the same picture. */
  async sample({ prompt, negativePrompt, seed }: PreviewRequest): Promise<PreviewImage> {
    const { schedule, steps, sampler, guidanceScale } = this.#options;
    const context = await this.#encode([negativePrompt, prompt]);
    const size = latentShape(this.#options).reduce((n, d) => n * d, 1);
    const noise = new Rng(seed, 'preview').normals(size);
    const denoise = classifierFreeGuidance(await this.#denoiser(context), guidanceScale);
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

  async #encode(prompts: readonly string[]): Promise<Tensor> {
    const { executor, model, text, layouts } = this.#options;
    const ids = tokenizeBatch(prompts, text);
    const chunks = ids.shape[1]!;
    let graph = this.#text.get(chunks);
    if (!graph) {
      const g = new GraphBuilder();
      const scope = networkScope(g, model.shapes, 'text_encoder', {
        adapter: this.#adapter(g, layouts),
      });
      const input = g.input('ids', [prompts.length, chunks, clipPositions], 'i32');
      const options = { clipSkip: text.clipSkip, heads: model.textHeads };
      graph = await executor.compile(g.build({ context: textContext(scope, input, options) }));
      this.#text.set(chunks, graph);
    }
    return (await graph.run({ ids }))['context']!;
  }

  /** Both predictions in one batch: without the prompt, then with it. */
  async #denoiser(context: Tensor): Promise<DenoisePair> {
    const { executor, model, layouts } = this.#options;
    const [, channels, height, width] = latentShape(this.#options) as [
      number,
      number,
      number,
      number,
    ];
    const timeChannels = model.shapes.get('unet.conv_in.weight')![0]!;
    const tokens = context.shape[1]!;
    let graph = this.#unet.get(tokens);
    if (!graph) {
      const g = new GraphBuilder();
      const scope = networkScope(g, model.shapes, 'unet', { adapter: this.#adapter(g, layouts) });
      const inputs = {
        latents: g.input('latents', [2, channels, height, width]),
        timeProj: g.input('timeProj', [2, timeChannels]),
        context: g.input('context', context.shape),
      };
      graph = await executor.compile(
        g.build({ out: unet(scope, inputs, { heads: () => unetHeads }) }),
      );
      this.#unet.set(tokens, graph);
    }
    const executable = graph;
    const shape = [2, channels, height, width];
    return async (x, timestep) => {
      const latents = new Float32Array(2 * x.length);
      latents.set(x);
      latents.set(x, x.length);
      const timeProj = timestepEmbedding([timestep, timestep], timeChannels);
      const { out } = await executable.run({ latents: f32(shape, latents), timeProj, context });
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
      this.#decoder = await executor.compile(g.build({ image: vaeDecoder(scope, input) }));
    }
    const scaled = latents.map((value) => value / latentScale);
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
