/** @file One optimizer step after the other: feeds, gradients over micro-batches, the finite check, AdamW. */

import type { BatchItem, PlannedBatch } from '../data/batch-plan.ts';
import { type CaptionOptions, composeCaption } from '../data/caption.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import type { LoraGroup } from '../lora/target-modules.ts';
import { beginRun, type Executable, type Executor, type Values } from '../runtime/executor.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import type { AdamwOptions } from './adamw.ts';
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
import { type LossScale, nextLossScale } from './loss-scale.ts';
import { type SmallerParts, smallerParts } from './smaller-parts.ts';
import { guardFeeds, startGuard } from './step-guard.ts';
import { partSizes } from './step-shapes.ts';
import { FrozenTextEncoder, type TextOptions, tokenFeeds } from './text-encoding.ts';

export interface TrainerOptions {
  readonly executor: Executor;
  readonly model: StepModel;
  readonly layouts: readonly LoraLayout[];
  readonly step: Omit<StepOptions, 'scalesLoss'>;
  /** Of the first step; losses are not scaled unless given. */
  readonly lossScale?: LossScale | null;
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
  /** Told where the device's memory did not suffice, so that batches are cut into smaller parts. */
  readonly onSmallerParts?: (parts: SmallerParts) => void;
}

/** What one step did. */
export interface StepOutcome {
  /** Mean of the micro-batches' weighted losses. */
  readonly loss: number;
  /** Of all gradients, before clipping. */
  readonly gradNorm: number;
  /** False where the loss or a gradient was not finite, so that nothing was changed. */
  readonly applied: boolean;
  /** What the loss was multiplied with, where losses are scaled. */
  readonly lossScale?: number;
}

/** A step that was begun. */
export interface PendingStep {
  /** Whether it is to be seen before the next one: it is over, or tells the next one's loss scale. */
  readonly isDue: boolean;
  /** Waits for it. */
  outcome(): Promise<StepOutcome>;
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
  #lossScale: LossScale | null;
  /** Most items that go through the network at once; undefined for whole batches. */
  #microBatch: number | undefined;
  /** Items of the part that is being computed. */
  #atOnce = 1;
  /** Steps that were begun and whose outcome nobody has asked for. */
  #unseen = 0;
  /** Of the first batch, which stands for all: what has a gradient does not depend on sizes. */
  #someShape: StepShape | undefined;

  constructor(options: TrainerOptions) {
    this.#options = options;
    const { executor, model, text, frozenText, layouts } = options;
    const trainsText = layouts.some(({ group }) => group === 'text_encoder');
    if (!trainsText) {
      this.#frozenText = frozenText ?? new FrozenTextEncoder(() => executor, model, text);
    }
    this.#lossScale = options.lossScale ?? null;
    this.#microBatch = options.microBatch;
    startGuard(executor);
    for (const layout of layouts)
      executor.writeVariable(gradientVariable(layout), f32([layout.size]));
  }

  /** Of the next step; null where losses are not scaled. */
  get lossScale(): LossScale | null {
    return this.#lossScale;
  }

  /**
   * One optimizer step, to its end.
   * @param updates of AdamW done before this one
   */
  async step(
    batches: readonly PlannedBatch[],
    updates: number,
    learningRates: Readonly<Record<LoraGroup, number>>,
  ): Promise<StepOutcome> {
    const pending = await this.begin(batches, updates, learningRates);
    return pending.outcome();
  }

  /**
   * Begins an optimizer step, which goes on while the host does other things on executors that compute
   * elsewhere. The outcome of one step before it may still be unseen. Where the device's memory does not
   * suffice, the step begins anew in smaller parts, and is what it would have been in those from the start.
   *
   * @param updates of AdamW done before this one, without that of an unseen step
   * @throws UserError where single items are too large
   */
  async begin(
    batches: readonly PlannedBatch[],
    updates: number,
    learningRates: Readonly<Record<LoraGroup, number>>,
  ): Promise<PendingStep> {
    if (this.#unseen > 1) throw new Error(`internal: a step while ${this.#unseen} are under way`);
    for (;;) {
      try {
        await this.#gather(batches);
        return await this.#update(updates, learningRates);
      } catch (error) {
        const { step, onSmallerParts } = this.#options;
        const parts = smallerParts(error, this.#atOnce, step.gradientCheckpointing);
        this.#microBatch = parts.microBatch;
        await this.releaseGraphs();
        onSmallerParts?.(parts);
      }
    }
  }

  /** Gathers the gradients of a step; what was gathered before is forgotten. */
  async #gather(batches: readonly PlannedBatch[]): Promise<void> {
    const scale = this.#lossScale?.scale;
    let passes = 0;
    for (const batch of batches) {
      for (const { part, text } of await this.#partsOf(batch)) {
        // The loss is a mean over a batch, so that a part of it counts by its items.
        this.#atOnce = part.items.length;
        const share = part.items.length / batch.items.length / batches.length;
        const executable = await this.#gradientsFor(part, text);
        await beginRun(executable, {
          ...batchFeeds(part, this.#options.momentsOf, this.#options.noise),
          ...text,
          gradientKeep: scalar(passes++ === 0 ? 0 : 1),
          gradientShare: scalar(share / (scale ?? 1)),
          lossShare: scalar(share),
          ...(scale === undefined ? {} : { lossScale: scalar(scale) }),
        });
      }
    }
  }

  async #update(
    updates: number,
    learningRates: Readonly<Record<LoraGroup, number>>,
  ): Promise<PendingStep> {
    const { executor, model, layouts, step, adamw, maxGradNorm } = this.#options;
    if (!this.#optimizer) {
      const idle = idleFactors(model, layouts, this.#someShape!, step);
      this.#optimizer = await executor.compile(optimizerGraph(layouts, adamw, idle));
    }
    const count = { updates: updates + this.#unseen, unsure: this.#unseen > 0 };
    const feeds: Record<string, Tensor> = guardFeeds(adamw, maxGradNorm, count);
    for (const { group } of layouts) feeds[`learningRate.${group}`] = scalar(learningRates[group]);
    const run = await beginRun(this.#optimizer, feeds);
    this.#unseen++;
    let outcome: Promise<StepOutcome> | undefined;
    const see = async (): Promise<StepOutcome> => {
      const results = await run.read();
      this.#unseen--;
      const scale = this.#lossScale?.scale;
      const value = (name: string) => Number(results[name]!.data[0]);
      const gradNorm = Math.sqrt(value('normSquared'));
      this.#lossScale &&= nextLossScale(this.#lossScale, Number.isFinite(gradNorm));
      return {
        loss: value('loss'),
        gradNorm,
        applied: value('applied') > 0,
        ...(scale === undefined ? {} : { lossScale: scale }),
      };
    };
    return {
      isDue: run.isOver || this.#lossScale !== null,
      outcome: () => {
        outcome ??= see();
        return outcome;
      },
    };
  }

  /** A batch in parts; their texts are as long as the whole batch's, so that nothing but rounding differs. */
  async #partsOf(batch: PlannedBatch): Promise<{ part: PlannedBatch; text: Values }[]> {
    const text = await this.#textFeeds(batch);
    let start = 0;
    return partSizes(batch.items.length, this.#microBatch ?? batch.items.length).map((n) => {
      const part = { ...batch, items: batch.items.slice(start, start + n) };
      const own = Object.entries(text).map(([name, value]) => [name, rowsOf(value, start, n)]);
      start += n;
      return { part, text: Object.fromEntries(own) };
    });
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
    const { executor, model, layouts, onCompile } = this.#options;
    const step = { ...this.#options.step, scalesLoss: this.#lossScale !== null };
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
