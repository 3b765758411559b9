/** @file Five steps of AdamW on a LoRA, one of them at another size of latents. */

import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { flattenGradients } from '../../../src/lora/lora-adapter.ts';
import type { LoraLayout } from '../../../src/lora/lora-layout.ts';
import { loraModules } from '../../../src/lora/lora-modules.ts';
import type { Executable } from '../../../src/runtime/executor.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { adamwCorrections, adamwGraph, adamwInputs } from '../../../src/train/adamw.ts';
import { idleRanges, keepIdle } from '../../../src/train/idle-factors.ts';
import { firstLossScale } from '../../../src/train/loss-scale.ts';
import { layoutsOf, loadLora, loraForward, readModules } from '../lora-network.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
import { tolerances, vector } from '../report.ts';
import { type BatchFeeds, batchFeeds } from './lora.ts';

const learningRate = 1e-3;

/**
 * Multiples of PyTorch's own f32 deviation that are allowed after training. AdamW divides by |g|, so
 * a weight whose gradient is almost 0 may go either way: only the rate bounds it.
 */
const deviationMargin = 10;

const moment = (layout: LoraLayout, name: 'm' | 'v') => `${layout.variable}.${name}`;

/** Forward, backward and update for one size of latents. */
function stepGraph(
  { family }: CaseContext,
  layouts: readonly LoraLayout[],
  feeds: BatchFeeds,
  scalesLoss: boolean,
): ReturnType<GraphBuilder['build']> {
  const g = new GraphBuilder();
  const shapes = { latents: feeds.latents.shape, ids: feeds.ids };
  const options = scalesLoss ? { lossScale: g.input('lossScale', []) } : {};
  const forward = loraForward(g, family, layouts, shapes, options);
  const updates: Record<string, Node> = {};
  for (const layout of layouts) {
    const shape = [layout.size];
    const state = {
      param: g.variable(layout.variable, shape),
      m: g.variable(moment(layout, 'm'), shape),
      v: g.variable(moment(layout, 'v'), shape),
    };
    const gradients = forward.gradients(layout);
    const scaled = flattenGradients(g, layout, gradients);
    const gradient = scalesLoss ? g.mul(scaled, g.input('gradientShare', [])) : scaled;
    const next = adamwGraph(g, state, gradient, adamwInputs(g));
    const idle = idleRanges(layout, gradients);
    updates[layout.variable] = keepIdle(g, next.param, state.param, idle);
    updates[moment(layout, 'm')] = next.m;
    updates[moment(layout, 'v')] = next.v;
  }
  return g.build({ loss: g.reshape(forward.loss, []) }, updates);
}

/** Runs the steps; returns the loss before each, and the loss on the first batch after all. */
async function train(context: CaseContext, layouts: readonly LoraLayout[], steps: number) {
  const { family, engine, golden } = context;
  const file = await golden('train.safetensors');
  const bySize = new Map<string, Executable>();
  const losses: number[] = [];
  const scale = firstLossScale(engine.executor)?.scale;
  const scaling =
    scale === undefined ? {} : { lossScale: f32([], [scale]), gradientShare: f32([], [1 / scale]) };
  for (let step = 0; step <= steps; step++) {
    // After the last step comes the first batch again, with a rate of 0.
    const feeds = batchFeeds(family, file, `step${step % steps}.`);
    const size = `${feeds.latents.shape}`;
    const executable =
      bySize.get(size) ??
      (await engine.executor.compile(stepGraph(context, layouts, feeds, scale !== undefined)));
    bySize.set(size, executable);
    if (step === steps) {
      for (const [key, other] of bySize) if (key !== size) await other.dispose();
    }
    const { loss } = await executable.run({
      ...feeds,
      ...scaling,
      learningRate: f32([], [step === steps ? 0 : learningRate]),
      ...adamwCorrections(step + 1),
    });
    losses.push(Number(loss!.data[0]));
  }
  for (const executable of bySize.values()) await executable.dispose();
  return { losses: losses.slice(0, steps), after: losses[steps]! };
}

/** The LoRA after training, tensor by tensor and as a whole. */
async function checkFinal(
  { family, engine, report, golden }: CaseContext,
  layouts: readonly LoraLayout[],
) {
  const file = await golden('train_final.safetensors');
  const errors: number[] = [];
  const expected = new Map(readModules(file).map((module) => [module.name, module]));
  for (const layout of layouts) {
    const values = engine.executor.readVariable(layout.variable).data;
    for (const { name, down, up, alpha } of loraModules(layout, values)) {
      const module = expected.get(name);
      if (!module || module.alpha !== alpha) {
        report.fail(name, `golden: ${module ? `alpha ${module.alpha}` : 'no such module'}`);
        continue;
      }
      for (const [factor, ours, theirs] of [
        ['lora_down', down, module.down],
        ['lora_up', up, module.up],
      ] as const) {
        report.compare(`final.${name}.${factor}.weight`, ours, theirs, { absolute: learningRate });
        for (const [i, value] of ours.data.entries())
          errors.push(Math.abs(value - theirs.data[i]!));
      }
    }
  }
  errors.sort((a, b) => a - b);
  const index = family.index('train_final.safetensors');
  const zero = vector([0]);
  const held = (name: string, error: number, torch: number | undefined) =>
    report.compare(name, vector([error]), zero, { absolute: deviationMargin * (torch ?? 0) });
  held(
    'final: 99.9 % of all weights within',
    errors[Math.floor(0.999 * (errors.length - 1))]!,
    index.fp32_dev_p999,
  );
  held(
    'final: mean error',
    errors.reduce((sum, error) => sum + error, 0) / errors.length,
    index.fp32_dev_mean,
  );
}

export const trainingCase: ParityCase = {
  // A weight whose gradient rounds to the other sign goes the other way, by the whole rate.
  roundingGrows: 6,
  name: 'train',
  marker: 'train.safetensors',
  files: ['train.safetensors', 'train_final.safetensors', 'lora_init.safetensors'],
  async run(context) {
    const { family, engine, report, golden } = context;
    const modules = readModules(await golden('lora_init.safetensors'));
    const layouts = layoutsOf(family, modules);
    loadLora(engine.executor, report, layouts, modules, 'lora_init.safetensors');
    for (const layout of layouts) {
      for (const name of ['m', 'v'] as const) {
        engine.executor.writeVariable(moment(layout, name), f32([layout.size]));
      }
    }
    const file = await golden('train.safetensors');
    const expected = file.f32('losses');
    const steps = expected.data.length;
    const { losses, after } = await train(context, layouts, steps);
    for (const [step, loss] of losses.entries()) {
      report.compare(`losses[${step}]`, vector([loss]), vector([expected.data[step]!]), {
        relative: tolerances.loss,
      });
    }
    report.compare(
      'loss_after_on_step0_batch',
      vector([after]),
      vector(file.f32('loss_after_on_step0_batch').data),
      { relative: tolerances.loss },
    );
    await checkFinal(context, layouts);
  },
};
