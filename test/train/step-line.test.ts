/** @file Steps in the state, the log and the progress: at once, or one step late. */

import { expect, test, vi } from 'vitest';
import { f32 } from '../../src/tensor/tensor.ts';
import type { Run } from '../../src/train/prepare-run.ts';
import { StepLine } from '../../src/train/step-line.ts';
import type { RunOptions } from '../../src/train/train-options.ts';
import { lateExecutor } from '../helpers/late-executor.ts';
import { batch, makeTrainer } from './tiny-trainer.ts';
import { tinyExecutor } from './tiny-training.ts';

vi.setConfig({ testTimeout: 120_000 });

const totalSteps = 4;

function makeLine(late: boolean, isBroken: () => boolean = () => false) {
  const groups = { unet: true, textEncoder: false };
  const executor = late ? lateExecutor(tinyExecutor()) : tinyExecutor();
  const values = () => new Float32Array(32).fill(isBroken() ? Number.NaN : 0.5);
  const momentsOf = () => f32([8, 2, 2], values());
  const { trainer, read } = makeTrainer(groups, { momentsOf, executor });
  const train = { lrSchedule: 'linear', warmupSteps: 0, restarts: 1, unetLearningRate: 0.01 };
  const config = { train: { ...train, textEncoderLearningRate: 0 }, lora: { unet: true } };
  const state = { step: 0, updates: 0, history: { losses: [], learningRates: [] } };
  const plan = { totalSteps, batchesOf: (index: number) => [batch(index % 2)] };
  const folder = { statePath: 'pet.state' };
  const logged: unknown[] = [];
  const shown: number[] = [];
  const options = {
    log: (_: string, { step, loss, learningRate }: Record<string, unknown>) =>
      logged.push([step, loss, learningRate]),
    onProgress: ({ done }: { readonly done: number }) => shown.push(done),
  };
  const line = new StepLine(
    { config, plan, state, trainer, folder, executor } as unknown as Run,
    options as unknown as RunOptions,
  );
  return { line, state, logged, shown, read };
}

test('late or not, the same steps are taken and told', async () => {
  const runs = [false, true].map((late) => makeLine(late));
  for (const { line } of runs) {
    for (let step = 1; step <= totalSteps; step++) expect(await line.begin()).toBe(step);
  }
  const [inStep, late] = runs as [(typeof runs)[0], (typeof runs)[0]];
  expect([inStep.state.step, late.state.step]).toEqual([totalSteps, totalSteps - 1]);
  expect(late.shown).toEqual([1, 2, 3]);
  await late.line.settle();
  await late.line.settle();
  expect(late.state).toEqual(inStep.state);
  expect(late.logged).toEqual(inStep.logged);
  expect(late.read('lora.unet')).toEqual(inStep.read('lora.unet'));
  expect(inStep.state.history.learningRates[0]).toBeGreaterThan(
    inStep.state.history.learningRates[3]!,
  );
});

test.each([false, true])('five steps that are not finite end the run; late: %s', async (late) => {
  const { line, state, read } = makeLine(late, () => true);
  const before = read('lora.unet');
  const steps = async () => {
    for (;;) await line.begin();
  };
  await expect(steps()).rejects.toThrow(/not finite in 5 steps in a row, up to step 5/);
  expect(state.updates).toBe(0);
  expect(read('lora.unet')).toEqual(before);
});
