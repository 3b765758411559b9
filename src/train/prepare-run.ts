/** @file Everything that a run needs before its first step. */

import type { Config } from '../config/resolve-config.ts';
import type { BatchItem } from '../data/batch-plan.ts';
import {
  type CaptionOptions,
  type CaptionSource,
  captionVariants,
  withTriggerWord,
} from '../data/caption.ts';
import type { RunDescription } from '../export/kohya-metadata.ts';
import { initLora } from '../lora/init-lora.ts';
import { type LoraLayout, loraLayout } from '../lora/lora-layout.ts';
import { targetModules } from '../lora/target-modules.ts';
import { type ClipTokenizer, createClipTokenizer } from '../models/clip-tokenizer.ts';
import { unetFeeds } from '../models/networks.ts';
import type { Executor } from '../runtime/executor.ts';
import { f32 } from '../tensor/tensor.ts';
import type { BaseSettings } from './base-settings.ts';
import { describeRun, runDate } from './describe-run.ts';
import { type EncodedLatents, encodeLatents } from './encode-latents.ts';
import { encodeTexts } from './encode-texts.ts';
import { hiddenScale } from './hidden-scale.ts';
import { momentVariables } from './lora-step.ts';
import { LoraTrainer } from './lora-trainer.ts';
import { firstLossScale } from './loss-scale.ts';
import { type StepWay, wayAsConfigured } from './memory-plan.ts';
import { rescaleZeroTerminalSnr, stableDiffusionSchedule } from './noise-schedule.ts';
import type { Base } from './open-base.ts';
import { frameOf } from './picture-frame.ts';
import { type Dataset, readDataset } from './read-dataset.ts';
import { runFingerprint } from './run-fingerprint.ts';
import { RunFolder } from './run-folder.ts';
import { limitedMemory, planText } from './run-memory.ts';
import { planRun, type RunPlan } from './run-plan.ts';
import { RunPreviews } from './run-previews.ts';
import { type SmallerParts, smallerPartsText } from './smaller-parts.ts';
import { FrozenTextEncoder, type TextOptions } from './text-encoding.ts';
import { textStore } from './text-store.ts';
import { type RunOptions, usedOnce } from './train-options.ts';
import { type Fingerprint, loadState, type RunState, setStateAside } from './train-state.ts';

/** A run that is ready for its next step. */
export interface Run {
  readonly config: Config;
  readonly dataset: Dataset;
  readonly plan: RunPlan;
  readonly layouts: readonly LoraLayout[];
  readonly executor: Executor;
  readonly trainer: LoraTrainer;
  readonly previews: RunPreviews;
  readonly folder: RunFolder;
  readonly fingerprint: Fingerprint;
  readonly description: RunDescription;
  readonly state: RunState;
}

/** Which layers are adapted, and where their factors lie. */
function adapterLayouts({ lora }: Config, { checkpoint }: Base): LoraLayout[] {
  const modules = targetModules(checkpoint, {
    unet: lora.unet,
    textEncoder: lora.textEncoder,
    convolutions: lora.convRank !== null,
  });
  const ranks = { ...lora, convRank: lora.convRank ?? undefined };
  // The UNet's gradients come first in the backward pass.
  return (['unet', 'text_encoder'] as const)
    .map((group) => loraLayout(group, modules, ranks))
    .filter(({ size }) => size > 0);
}

/** The latents of the data set; the VAE's memory is given back before the UNet is loaded. */
function encodeDataset(
  { config: { data }, createExecutor, onProgress }: RunOptions,
  { checkpoint, vaeKey }: Base,
  { samples }: Dataset,
): Promise<EncodedLatents> {
  return encodeLatents({
    sources: samples,
    flip: data.flip,
    cacheDir: data.cacheDir,
    vaeKey,
    shapes: checkpoint.shapes,
    createExecutor: async () => createExecutor(checkpoint, usedOnce),
    onProgress: (done, total) => onProgress({ phase: 'cache', done, total }),
  });
}

/** How captions vary: with frozen text encoders in so many ways as are encoded beforehand. */
function captionOptions({ data, lora }: Config): CaptionOptions {
  return { ...data, variants: lora.textEncoder ? null : data.captionVariants };
}

/**
 * Encodes all that captions and previews can be, where no text encoder is trained; its memory is given
 * back before the UNet is loaded.
 */
async function encodeCaptions(
  { config, createExecutor, log, onProgress }: RunOptions,
  base: Base,
  { samples }: Dataset,
  executor: Executor,
  text: TextOptions,
): Promise<FrozenTextEncoder | undefined> {
  if (config.lora.textEncoder) return undefined;
  const store = textStore(config.data.cacheDir, base, text.clipSkip);
  const options = captionOptions(config);
  const { preview, train } = config;
  const captions = new Set(
    samples.flatMap((sample, i) => captionVariants(sample, options, train.seed, i)),
  );
  const prompts = new Set(
    preview.enabled
      ? preview.prompts.flatMap(({ prompt, negativePrompt }) => [prompt, negativePrompt])
      : [],
  );
  const encoded = await encodeTexts({
    captions: [...captions],
    prompts: [...prompts],
    model: base.checkpoint,
    text,
    store,
    createExecutor: async () => createExecutor(base.checkpoint, usedOnce),
    onProgress: (done, total) => onProgress({ phase: 'text', done, total }),
  });
  log('texts', { captions: captions.size + prompts.size, encoded });
  return new FrozenTextEncoder(() => executor, base.checkpoint, text, store);
}

/** What is said of a state that is gone on from. */
function resumeNotice(state: RunState, formerSteps: number | null, totalSteps: number) {
  if (formerSteps !== null) {
    return (
      `this run was planned with ${formerSteps} steps and has ${totalSteps} now: it goes on after step ${state.step}, ` +
      'with the learning rates of the new plan; --restart takes all steps by it'
    );
  }
  if (state.step < totalSteps) return null;
  return (
    `all ${totalSteps} steps of this run are done already, so its files are only written again; ` +
    'raise train.steps to go on, or add --restart to train anew'
  );
}

/** The state of an earlier run of the same inputs, its tensors put in place; or a new one. */
async function beginOrResume(
  { log, restart }: RunOptions,
  executor: Executor,
  layouts: readonly LoraLayout[],
  { statePath }: RunFolder,
  fingerprint: Fingerprint,
  { totalSteps }: RunPlan,
): Promise<{ readonly state: RunState; readonly isReplanned: boolean }> {
  const found = restart
    ? { kind: 'none' as const }
    : await loadState(statePath, executor, layouts, fingerprint);
  if (found.kind === 'same') {
    const { state, formerSteps } = found;
    const notice = resumeNotice(state, formerSteps, totalSteps);
    if (notice === null) log('resumed', { step: state.step, state: statePath });
    else log('notice', { notice, step: state.step, state: statePath });
    const { microBatch } = state;
    if (microBatch !== null) {
      const parts = `batches are taken in parts of ${microBatch}, as this run found no memory for more at once`;
      log('notice', { notice: parts, microBatch });
    }
    state.lossScale = firstLossScale(executor, state.lossScale);
    return { state, isReplanned: formerSteps !== null };
  }
  if (found.kind === 'other') {
    const aside = await setStateAside(statePath);
    const names = found.differing.join(', ');
    const notice = `the state of another run was found (different: ${names}); it is kept as ${aside}, and this run starts anew`;
    log('notice', { notice });
  }
  const startedAt = runDate(Date.now(), process.env['SOURCE_DATE_EPOCH']);
  const history = { losses: [], learningRates: [] };
  const lossScale = firstLossScale(executor);
  const nothing = { step: 0, updates: 0, saved: [], microBatch: null };
  return { state: { ...nothing, startedAt, history, lossScale }, isReplanned: false };
}

function rememberParts(parts: SmallerParts, state: RunState, log: RunOptions['log']): void {
  state.microBatch = parts.microBatch;
  log('notice', { notice: smallerPartsText(parts), step: state.step + 1, ...parts });
}

/** Variables of the adapter as they are before the first step. */
function writeInitialVariables(executor: Executor, layouts: readonly LoraLayout[], seed: number) {
  for (const layout of layouts) {
    executor.writeVariable(layout.variable, f32([layout.size], initLora(layout, seed)));
    for (const moment of momentVariables(layout)) {
      executor.writeVariable(moment, f32([layout.size]));
    }
  }
}

/** How steps are taken: as configured, or as fits the memory that is stated. */
async function planSteps(
  { config, memoryModel, log }: RunOptions,
  { checkpoint }: Base,
  { samples }: Dataset,
  layouts: readonly LoraLayout[],
  tokenizer: ClipTokenizer,
): Promise<StepWay> {
  const { train, device, data } = config;
  const { gradientCheckpointing, batchSize, maxTokens } = train;
  if (device.memory === null) {
    return wayAsConfigured({ gradientCheckpointing, batchSize });
  }
  const chunksOf = ({ caption, triggerWord }: CaptionSource) => {
    const text = withTriggerWord(caption, triggerWord, data.captionSeparator);
    return tokenizer.chunk(text, { maxTokens, emphasis: data.emphasis }).chunks;
  };
  const chunks = [...new Set(samples.map(chunksOf))];
  const memory = await memoryModel();
  const plan = limitedMemory(config, {
    checkpoint,
    layouts,
    samples,
    chunks,
    memory,
    tokenizer,
  })!;
  log('memory', { plan: planText(plan, config), ...plan });
  return plan;
}

/**
 * Reads the data set, encodes what is not cached, and puts the pieces together.
 *
 * @param own is told the executor as soon as it is made, to be disposed at the end
 * @throws UserError for anything that the user can mend
 */
export async function prepareRun(
  options: RunOptions,
  base: Base,
  settings: BaseSettings,
  own: (executor: Executor) => void,
): Promise<Run> {
  const { config, log, onProgress } = options;
  const { train, data } = config;
  const dataset = await readDataset(data);
  for (const warning of dataset.warnings) log('warning', { warning });
  const plan = planRun(dataset.samples, { ...train, flip: data.flip });
  const { checkpoint } = base;
  const layouts = adapterLayouts(config, base);
  const scale = hiddenScale(layouts, config.output.format);
  if (scale !== null) log('notice', { notice: scale });
  const tokenizer = createClipTokenizer();
  const way = await planSteps(options, base, dataset, layouts, tokenizer);
  const latents = await encodeDataset(options, base, dataset);
  log('latents', { samples: dataset.samples.length, encoded: latents.encoded });

  const { gradientCheckpointing, microBatch, halfWeights, keepsGraphs } = way;
  const flipWeights = !gradientCheckpointing;
  const executor = await options.createExecutor(checkpoint, { flipWeights, halfWeights });
  own(executor);
  writeInitialVariables(executor, layouts, train.seed);
  const fingerprint = runFingerprint(config, base, dataset, plan, settings);
  const folder = new RunFolder(config.output, fingerprint);
  const begun = await beginOrResume(options, executor, layouts, folder, fingerprint, plan);
  const { state } = begun;

  const { predictionType, clipSkip } = settings;
  const { family, shapes, heads } = checkpoint;
  const { joinsLayers, recomputesFreely } = executor;
  const model = { family, shapes, heads, predictionType, joinsLayers, recomputesFreely };
  const usual = stableDiffusionSchedule();
  const schedule = settings.zeroTerminalSnr ? rescaleZeroTerminalSnr(usual) : usual;
  const { maxTokens, maxGradNorm, beta1, beta2 } = train;
  const { emphasis } = data;
  const text = { tokenizer, maxTokens, clipSkip, emphasis };
  const frozenText = await encodeCaptions(options, base, dataset, executor, text);
  const networks = { executor, model, layouts, schedule, text, frozenText };
  const trainer = new LoraTrainer({
    ...networks,
    step: { clipSkip, emphasis, gradientCheckpointing },
    lossScale: state.lossScale,
    microBatch: Math.min(microBatch, state.microBatch ?? microBatch),
    keepsGraphs,
    adamw: { ...train, betas: [beta1, beta2] },
    noise: {
      ...train,
      schedule,
      predictionType,
      latentScale: family.latentScale,
      conditions: (timesteps: readonly number[], items: readonly BatchItem[]) =>
        unetFeeds(
          model,
          timesteps,
          items.map(({ sample }) => frameOf(dataset.samples[sample]!)),
        ),
    },
    captions: captionOptions(config),
    samples: dataset.samples,
    momentsOf: ({ sample, flip }) => latents.moments(sample, flip),
    maxGradNorm,
    onCompile: (shape) =>
      onProgress({ phase: 'compile', done: state.step, total: plan.totalSteps, text: shape }),
    onSmallerParts: (parts) => rememberParts(parts, state, log),
  });
  const { startedAt } = state;
  const { sessionId } = folder;
  const { precision } = executor;
  const about = { base, dataset, plan, settings };
  const taken = { ...config, train: { ...train, gradientCheckpointing } };
  const description = describeRun(taken, about, { startedAt, sessionId, precision });
  const previews = new RunPreviews(config.preview, folder, networks, plan.totalSteps, onProgress);
  if (state.step === 0) await previews.forgetAfter(-1);
  else if (begun.isReplanned) await previews.forgetAfter(state.step);
  return {
    config,
    dataset,
    plan,
    layouts,
    executor,
    trainer,
    previews,
    folder,
    fingerprint,
    description,
    state,
  };
}
