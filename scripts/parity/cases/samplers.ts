/** @file The samplers with guidance, every step, through the UNet. */

import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import { predict, textOutputs } from '../../../src/models/networks.ts';
import { sizeOf } from '../../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../../src/tensor/tensor.ts';
import { stableDiffusionSchedule } from '../../../src/train/noise-schedule.ts';
import { sampleDdim } from '../../../src/train/samplers/ddim.ts';
import { sampleEuler, sampleEulerAncestral } from '../../../src/train/samplers/euler.ts';
import {
  classifierFreeGuidance,
  type DenoisePair,
  type SampleOptions,
} from '../../../src/train/samplers/sampler.ts';
import { eulerLevels } from '../../../src/train/samplers/sigmas.ts';
import type { GoldenFile } from '../golden-file.ts';
import { conditionFeeds, fedTextOf, textInputs, textOf, tokenFeeds } from '../networks.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
import { type Report, tolerances, vector } from '../report.ts';

const bound = { relative: tolerances.output };
const schedule = stableDiffusionSchedule();

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The unconditional half of a tensor's batch, then the conditional one. */
const halves = (uncond: Tensor<'f32'>, cond: Tensor<'f32'>) =>
  f32([2 * cond.shape[0]!, ...cond.shape.slice(1)], joined(uncond.data, cond.data));

/** Both halves of guidance in one run of the UNet. */
async function guidedUnet({ family, engine }: CaseContext, file: GoldenFile) {
  const [cond, uncond] = [fedTextOf(file, '', '_cond'), fedTextOf(file, '', '_uncond')];
  const noise = file.f32('noise');
  const [n, ...rest] = noise.shape as [number, ...number[]];
  const shape = [2 * n, ...rest];
  const context = halves(uncond.context, cond.context);
  const text =
    uncond.pooled && cond.pooled
      ? { context, pooled: halves(uncond.pooled, cond.pooled) }
      : { context };
  const g = new GraphBuilder();
  const out = predict(g, family.model, g.input('latents', shape), textInputs(g, text));
  const executable = await engine.executor.compile(g.build({ out }));
  const denoise: DenoisePair = async (x, timestep) => {
    const latents = f32(shape, joined(x, x));
    const timesteps = new Array<number>(2 * n).fill(timestep);
    const conditions = conditionFeeds(family, timesteps, file, 'time_ids');
    const { out: results } = await executable.run({ latents, ...text, ...conditions });
    const both = results!.data as Float32Array;
    return { uncond: both.slice(0, x.length), cond: both.slice(x.length) };
  };
  return { denoise, dispose: () => executable.dispose() };
}

/** Compares the raw outputs of the steps that were recorded. */
function watched(
  denoise: DenoisePair,
  report: Report,
  file: GoldenFile,
  name: string,
): DenoisePair {
  let step = 0;
  return async (x, timestep) => {
    const outputs = await denoise(x, timestep);
    const shape = file.shape('noise');
    for (const half of ['uncond', 'cond'] as const) {
      const key = `${name}.${step}.model_${half}`;
      if (file.has(key)) report.compare(key, f32(shape, outputs[half]), file.f32(key), bound);
    }
    step++;
    return outputs;
  };
}

async function checkContexts({ family, engine, report }: CaseContext, file: GoldenFile) {
  for (const half of ['cond', 'uncond']) {
    const feeds = tokenFeeds(family, file, '', `_${half}`);
    const text = await engine.compute((g) => textOutputs(textOf(g, family, feeds.ids)), feeds);
    for (const [name, value] of Object.entries(text)) {
      report.compare(`${name}_${half}`, value, file.f32(`${name}_${half}`), bound);
    }
  }
}

function checkLevels(report: Report, file: GoldenFile, name: string, logarithmic: boolean) {
  const recorded = file.values(`${name}.timesteps`);
  const levels = eulerLevels(schedule, recorded.length, logarithmic ? 'log' : 'linear');
  for (const key of ['timesteps', 'sigmas'] as const) {
    report.compare(
      `${name}.${key}`,
      vector(levels[key]),
      vector(file.values(`${name}.${key}`)),
      bound,
    );
  }
}

/** The samplers by their names in the file. */
const samplers = {
  ddim: (options: SampleOptions) => sampleDdim(options),
  euler: (options: SampleOptions) => sampleEuler({ ...options, interpolation: 'linear' }),
  euler_k: (options: SampleOptions) => sampleEuler({ ...options, interpolation: 'log' }),
  euler_a: (options: SampleOptions, stepNoise: (step: number) => Float32Array) =>
    sampleEulerAncestral({ ...options, stepNoise, interpolation: 'linear' }),
  euler_a_k: (options: SampleOptions, stepNoise: (step: number) => Float32Array) =>
    sampleEulerAncestral({ ...options, stepNoise, interpolation: 'log' }),
} as const;

export const samplersCase: ParityCase = {
  roundingGrows: 3,
  name: 'samplers',
  marker: 'sample.safetensors',
  files: ['sample.safetensors'],
  slow: true,
  async run(context) {
    const { family, report, golden } = context;
    const file = await golden('sample.safetensors');
    await checkContexts(context, file);
    const { denoise, dispose } = await guidedUnet(context, file);
    const noise: Tensor<'f32'> = file.f32('noise');
    const fresh = file.f32('ancestral_noise').data;
    const size = sizeOf(noise.shape);
    const scale = file.scalar('cfg_scale');
    for (const [name, sample] of Object.entries(samplers)) {
      const timesteps = file.values(`${name}.timesteps`);
      if (name !== 'ddim') checkLevels(report, file, name, name.endsWith('_k'));
      const options: SampleOptions = {
        schedule,
        steps: timesteps.length,
        noise: noise.data,
        predictionType: family.config.predictionType,
        denoise: classifierFreeGuidance(watched(denoise, report, file, name), scale),
        onStep: (step, x) => {
          const key = `${name}.${step}.x`;
          report.compare(key, f32(noise.shape, x), file.f32(key), bound);
        },
      };
      await sample(options, (step) => fresh.subarray(step * size, (step + 1) * size));
    }
    await dispose();
  },
};
