/** @file LoRA and LoCon: predictions, losses, and the gradient of every factor by name. */

import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { textOutputs } from '../../../src/models/networks.ts';
import { f32, type Tensor } from '../../../src/tensor/tensor.ts';
import { firstLossScale } from '../../../src/train/loss-scale.ts';
import {
  coefficientTensors,
  minSnrWeight,
  stableDiffusionSchedule,
} from '../../../src/train/noise-schedule.ts';
import type { Family } from '../family.ts';
import type { GoldenFile } from '../golden-file.ts';
import { layoutsOf, loadLora, loraForward, readModules } from '../lora-network.ts';
import { conditionFeeds, tokenFeeds } from '../networks.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
import { tolerances } from '../report.ts';

const output = { relative: tolerances.output };
const lossBound = { relative: tolerances.loss };

/** Gradients that are 0 in exact maths: allowed error as a part of the file's largest gradient. */
const zeroGradientTolerance = 1e-6;

const minSnrGamma = 5;
const lowMultiplier = 0.8;

/** All feeds of `loraForward` for a batch of the golden files. */
export function batchFeeds(family: Family, file: GoldenFile, prefix = '') {
  const timesteps = file.values(`${prefix}timesteps`);
  return {
    latents: file.f32(`${prefix}latents`),
    noise: file.f32(`${prefix}noise`),
    ...tokenFeeds(family, file, prefix),
    weight: f32([timesteps.length], new Array(timesteps.length).fill(1)),
    ...coefficientTensors(stableDiffusionSchedule(), timesteps),
    ...conditionFeeds(family, timesteps, file, `${prefix}time_ids`),
  };
}

export type BatchFeeds = ReturnType<typeof batchFeeds>;

const shapesOf = ({ latents, ids }: BatchFeeds) => ({ latents: latents.shape, ids });

/** Outputs and gradients of one step, each by its golden name. */
async function checkStep(context: CaseContext, file: GoldenFile, kind: string, feeds: BatchFeeds) {
  const { family, engine, report, golden } = context;
  const modules = readModules(await golden(`${kind}_init.safetensors`));
  const layouts = layoutsOf(family, modules);
  loadLora(engine.executor, report, layouts, modules, `${kind}_init.safetensors`);
  const withoutGradient: string[] = [];
  const { scale } = firstLossScale(engine.executor) ?? { scale: null };
  const scaled = scale === null ? feeds : { ...feeds, lossScale: f32([], [scale]) };
  const computed = await engine.compute((g) => {
    const options = scale === null ? {} : { lossScale: g.input('lossScale', []) };
    const forward = loraForward(g, family, layouts, shapesOf(feeds), options);
    const gradients: Record<string, Node> = {};
    for (const layout of layouts) {
      const found = forward.gradients(layout);
      const keys = layout.slots.flatMap(({ module: { name }, rank, alpha, down, up }) => [
        // The gradient is that of the scaled factor.
        { key: `${name}.lora_down.weight`, shape: down.shape, scale: alpha / rank },
        { key: `${name}.lora_up.weight`, shape: up.shape, scale: 1 },
      ]);
      for (const [i, { key, shape, scale }] of keys.entries()) {
        const gradient = found[i];
        if (gradient) gradients[`grad.${key}`] = g.reshape(g.scale(gradient, scale), shape);
        else withoutGradient.push(key);
      }
    }
    return {
      ...textOutputs(forward.text),
      noisy: forward.noisy,
      target: forward.target,
      pred: forward.pred,
      loss_per_sample: forward.perSample,
      loss: g.reshape(forward.loss, []),
      ...gradients,
    };
  }, scaled);
  const index = family.index(`${kind}.safetensors`);
  const expected = [...(index.keys_without_gradient ?? [])].sort();
  report.check(
    `keys without gradient (${expected.length})`,
    `${withoutGradient.sort()}` === `${expected}`,
    `ours: ${withoutGradient}; golden: ${expected}`,
  );
  const zero = new Set(index.structurally_zero_gradient?.map((key) => `grad.${key}`));
  const largest = file.names
    .filter((name) => name.startsWith('grad.'))
    .flatMap((name) => [...file.f32(name).data])
    .reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  for (const [name, { shape, data }] of Object.entries(computed)) {
    const isScaled = scale !== null && name.startsWith('grad.');
    const value = isScaled
      ? f32(
          shape,
          data.map((x) => x / scale),
        )
      : f32(shape, data);
    const bound = zero.has(name)
      ? { absolute: zeroGradientTolerance * largest }
      : name.startsWith('grad.')
        ? { relative: tolerances.gradient }
        : name.startsWith('loss')
          ? lossBound
          : output;
    report.compare(name, value, file.f32(name), bound);
  }
}

/** The min-SNR loss, and the prediction with less of the LoRA, which is fed. */
async function checkVariants({ family, engine, report, golden }: CaseContext, kind: string) {
  const file = await golden(`${kind}.safetensors`);
  const feeds = batchFeeds(family, file);
  const layouts = layoutsOf(family, readModules(await golden(`${kind}_init.safetensors`)));
  const g = new GraphBuilder();
  const forward = loraForward(g, family, layouts, shapesOf(feeds), {
    multiplier: g.input('multiplier', []),
  });
  const executable = await engine.executor.compile(
    g.build({ pred: forward.pred, loss: g.reshape(forward.loss, []) }),
  );
  const schedule = stableDiffusionSchedule();
  const weights = file
    .values('timesteps')
    .map((t) => minSnrWeight(schedule, t, minSnrGamma, family.config.predictionType));
  const full = { ...feeds, weight: f32([weights.length], weights), multiplier: f32([], [1]) };
  const { loss } = (await executable.run(full)) as { loss: Tensor<'f32'> };
  report.compare('loss_min_snr5', loss, file.f32('loss_min_snr5'), lossBound);
  const less = { ...feeds, multiplier: f32([], [lowMultiplier]) };
  const { pred } = (await executable.run(less)) as { pred: Tensor<'f32'> };
  report.compare('pred_mult0.8', pred, file.f32('pred_mult0.8'), output);
  await executable.dispose();
}

function adapterCase(kind: 'lora' | 'locon'): ParityCase {
  return {
    name: kind,
    marker: `${kind}.safetensors`,
    files: [`${kind}.safetensors`, `${kind}_init.safetensors`],
    async run(context) {
      const file = await context.golden(`${kind}.safetensors`);
      await checkStep(context, file, kind, batchFeeds(context.family, file));
      await checkVariants(context, kind);
    },
  };
}

export const loraCase = adapterCase('lora');
export const loconCase = adapterCase('locon');
