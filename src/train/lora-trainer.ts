/** @file One optimizer step after the other: feeds, gradients over micro-batches, the finite check, AdamW. */

import type { BatchItem, PlannedBatch } from '../data/batch-plan.ts';
import { type CaptionOptions, composeCaption } from '../data/caption.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import type { LoraGroup } from '../lora/target-modules.ts';
import type { Executable, Executor, Values } from '../runtime/executor.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { type AdamwOptions, adamwCorrections } from './adamw.ts';
import { batchFeeds, type NoiseOptions } from './batch-feeds.ts';
import {
  gradientGraph,
  gradientVariable,
  idleFactors,
  optimizerGraph,
  type StepModel,
  type StepOptions,
  type StepShape,
} from './lora-step.ts';
import { partSizes } from './step-shapes.ts';
import { FrozenTextEncoder, type TextOptions, tokenFeeds } from './text-encoding.ts';

export interface TrainerOptions {
  readonly executor: Executor;
  readonly model: StepModel;
  readonly layouts: readonly LoraLayout[];
  readonly step: StepOptions;
  /** False: only one gradient graph is there at a time; all are kept unless given. */
  readonly keepsGraphs?: boolean | undefined;
  /** Most items that go through the network at once; whole batches unless given. */
  readonly microBatch?: number | undefined;
  readonly adamw: AdamwOptions;
  readonly noise: NoiseOptions;
  readonly text: TextOptions;
  /** Has the texts of text encoders that are not trained; made here unless given. */
  readonly frozenText?: FrozenTextEncoder | undefined;
  readonly captions: CaptionOptions;
  /** The samples' captions, by index. */
  readonly samples: readonly { readonly caption: string; readonly triggerWord: string | null }[];
  readonly momentsOf: (item: BatchItem) => Tensor<'f32'>;
  /** Bound of the norm of all gradients; 0 for none. */
  readonly maxGradNorm: number;
  /** Told before a graph is compiled, which can take seconds. */
  readonly onCompile: (shape: string) => void;
}

/** What one step did. */
export interface StepOutcome {
  /** Mean of the micro-batches' weighted losses. */
  readonly loss: number;
  /** Of all gradients, before clipping. */
  readonly gradNorm: number;
  /** False where the loss or a gradient was not finite, so that nothing was changed. */
  readonly applied: boolean;
}

/** `count` of a tensor's rows, without a copy. */
function rowsOf({ dtype, shape, data }: Tensor, start: number, count: number): Tensor {
  const size = data.length / shape[0]!;
  const rows = data.subarray(start * size, (start + count) * size);
  return { dtype, shape: [count, ...shape.slice(1)], data: rows } as Tensor;
}

const scalar = (value: number) => f32([], [value]);

/** Runs steps on an executor that holds the factors and their moments as variables. */
export class LoraTrainer {
  readonly #options: TrainerOptions;
  readonly #gradients = new Map<string, Executable>();
  readonly #frozenText: FrozenTextEncoder | undefined;
  #optimizer: Executable | undefined;
  /** Of the first batch, which stands for all: what has a gradient does not depend on sizes. */
  #someShape: StepShape | undefined;

  constructor(options: TrainerOptions) {
    this.#options = options;
    const { executor, model, text, frozenText, layouts } = options;
    const trainsText = layouts.some(({ group }) => group === 'text_encoder');
    if (!trainsText) {
      this.#frozenText = frozenText ?? new FrozenTextEncoder(() => executor, model, text);
    }
    this.#clearGradients();
  }

  /**
   * One optimizer step.
   * @param updates of AdamW done before this one
   */
  async step(
    batches: readonly PlannedBatch[],
    updates: number,
    learningRates: Readonly<Record<LoraGroup, number>>,
  ): Promise<StepOutcome> {
    let loss = 0;
    let normSquared = 0;
    let passes = 0;
    for (const batch of batches) {
      for (const { part, text } of await this.#partsOf(batch)) {
        // The loss is a mean over a batch, so that a part of it counts by its items.
        const share = part.items.length / batch.items.length / batches.length;
        const executable = await this.#gradientsFor(part, text);
        const results = await executable.run({
          ...batchFeeds(part, this.#options.momentsOf, this.#options.noise),
          ...text,
          gradientKeep: scalar(passes++ === 0 ? 0 : 1),
          gradientShare: scalar(share),
        });
        loss += Number(results['loss']!.data[0]) * share;
        normSquared = Number(results['normSquared']!.data[0]);
      }
    }
    const gradNorm = Math.sqrt(normSquared);
    const applied = Number.isFinite(loss) && Number.isFinite(gradNorm);
    if (applied) await this.#update(updates, gradNorm, learningRates);
    else this.#clearGradients();
    return { loss, gradNorm, applied };
  }

  async #update(
    updates: number,
    gradNorm: number,
    learningRates: Readonly<Record<LoraGroup, number>>,
  ): Promise<void> {
    const { executor, model, layouts, step, adamw, maxGradNorm } = this.#options;
    if (!this.#optimizer) {
      const idle = idleFactors(model, layouts, this.#someShape!, step);
      this.#optimizer = await executor.compile(optimizerGraph(layouts, adamw, idle));
    }
    // As torch.nn.utils.clip_grad_norm_.
    const clip = maxGradNorm > 0 ? Math.min(1, maxGradNorm / (gradNorm + 1e-6)) : 1;
    const feeds: Record<string, Tensor> = {
      clip: scalar(clip),
      ...adamwCorrections(updates + 1, adamw),
    };
    for (const { group } of layouts) feeds[`learningRate.${group}`] = scalar(learningRates[group]);
    await this.#optimizer.run(feeds);
  }

  /** Zeros, since a gathered NaN would stay: zero times NaN is NaN. */
  #clearGradients(): void {
    const { executor, layouts } = this.#options;
    for (const layout of layouts)
      executor.writeVariable(gradientVariable(layout), f32([layout.size]));
  }

  /** A batch in parts; their texts are as long as the whole batch's, so that nothing but rounding differs. */
  async #partsOf(batch: PlannedBatch): Promise<{ part: PlannedBatch; text: Values }[]> {
    const text = await this.#textFeeds(batch);
    let start = 0;
    return partSizes(batch.items.length, this.#options.microBatch ?? batch.items.length).map(
      (n) => {
        const part = { ...batch, items: batch.items.slice(start, start + n) };
        const own = Object.entries(text).map(([name, value]) => [name, rowsOf(value, start, n)]);
        start += n;
        return { part, text: Object.fromEntries(own) };
      },
    );
  }

  /** Whether graphs stay between steps, for the next batch of their shape. */
  get keepsGraphs(): boolean {
    return this.#options.keepsGraphs ?? true;
  }

  /** Gives back what graphs hold; they are compiled anew when they are needed. */
  async releaseGraphs(): Promise<void> {
    for (const executable of this.#gradients.values()) await executable.dispose();
    this.#gradients.clear();
  }

  async #textFeeds({ items }: PlannedBatch): Promise<Values> {
    const { samples, captions, noise, text, model } = this.#options;
    const texts = items.map((item) =>
      composeCaption(samples[item.sample]!, captions, noise.seed, item),
    );
    if (this.#frozenText) return this.#frozenText.encode(texts);
    return tokenFeeds(model.family, texts, text);
  }

  /** The graph for a batch's size and text length; each is compiled once. */
  async #gradientsFor({ bucket, items }: PlannedBatch, text: Values): Promise<Executable> {
    const { executor, model, layouts, step, onCompile } = this.#options;
    const length = text['context']
      ? { tokens: text['context'].shape[1]! }
      : { chunks: text['ids']!.shape[1]! };
    const shape: StepShape = {
      batch: items.length,
      height: bucket.height / 8,
      width: bucket.width / 8,
      text: length,
    };
    this.#someShape ??= shape;
    const key = JSON.stringify(shape);
    let executable = this.#gradients.get(key);
    if (!executable) {
      if (!this.keepsGraphs) await this.releaseGraphs();
      onCompile(`${items.length} × ${bucket.width}×${bucket.height}`);
      executable = await executor.compile(gradientGraph(model, layouts, shape, step));
      this.#gradients.set(key, executable);
    }
    return executable;
  }
}
