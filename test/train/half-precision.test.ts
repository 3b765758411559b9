/** @file Training in f16 on libtorch: overflow, and what is learned. */

import { describe, expect, test, vi } from 'vitest';
import type { ComputeType } from '../../src/runtime/torch/rules/rule.ts';
import { createTorchExecutor } from '../../src/runtime/torch/torch-executor.ts';
import { firstLossScale } from '../../src/train/loss-scale.ts';
import { torchMissing } from '../helpers/executors.ts';
import { batch, makeTrainer, rates } from './tiny-trainer.ts';
import { randomTensor, tinyParameters } from './tiny-training.ts';

vi.setConfig({ testTimeout: 120_000 });

const groups = { unet: true, textEncoder: true };

/** 64×64 pixels: in smaller pictures norms have a few values each, and rounding is all that is left of them. */
const side = 64;
const batchOf = (...samples: number[]) => ({
  ...batch(...samples),
  bucket: { width: side, height: side },
});

function onTorch(compute: ComputeType, scale?: number) {
  const executor = createTorchExecutor({
    parameters: tinyParameters,
    device: 'cpu',
    threads: 1,
    compute,
  });
  const lossScale = scale === undefined ? firstLossScale(executor) : { scale, goodSteps: 0 };
  return makeTrainer(groups, {
    executor,
    lossScale,
    momentsOf: ({ sample }) => randomTensor([8, side / 8, side / 8], sample),
  });
}

const suite = torchMissing === undefined ? 'torch' : `torch (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  test('a scale that is too high skips the step, and is halved until it fits', async () => {
    const { trainer, executor, read } = onTorch('f16', 2 ** 24);
    const before = ['lora.unet', 'lora.text_encoder', 'adam.m.unet'].map(read);
    const skipped = await trainer.step([batchOf(0, 1)], 0, rates);
    expect(skipped).toMatchObject({ applied: false, lossScale: 2 ** 24 });
    expect(Number.isFinite(skipped.loss)).toBe(true);
    expect(trainer.lossScale).toEqual({ scale: 2 ** 23, goodSteps: 0 });
    expect(['lora.unet', 'lora.text_encoder', 'adam.m.unet'].map(read)).toEqual(before);
    let outcome = skipped;
    for (let i = 0; i < 16 && !outcome.applied; i++) {
      outcome = await trainer.step([batchOf(0, 1)], 0, rates);
    }
    expect(outcome.applied).toBe(true);
    // What the failed steps left does not matter: it is the step of a run that began with this scale.
    const fresh = onTorch('f16', outcome.lossScale!);
    expect(await fresh.trainer.step([batchOf(0, 1)], 0, rates)).toEqual(outcome);
    expect(read('lora.unet')).toEqual(fresh.read('lora.unet'));
    await Promise.all([executor.dispose(), fresh.executor.dispose()]);
  });

  test('gradients that f16 has no numbers for are there with a scale, and are not without', async () => {
    const exact = onTorch('f32');
    const { loss, gradNorm } = await exact.trainer.step([batchOf(0)], 0, rates);
    const scaled = onTorch('f16');
    const outcome = await scaled.trainer.step([batchOf(0)], 0, rates);
    // 11 bits over some thirty layers: 1e-5 and 2e-4 apart.
    expect([outcome.loss]).toBeAllClose([loss], { rtol: 1e-3, atol: 0 });
    expect([outcome.gradNorm]).toBeAllClose([gradNorm], { rtol: 2e-3, atol: 0 });
    const tooSmall = onTorch('f16', 2 ** -14);
    const lost = await tooSmall.trainer.step([batchOf(0)], 0, rates);
    // A coarse grid is left of them: two fifths off.
    expect(Math.abs(lost.gradNorm / gradNorm - 1)).toBeGreaterThan(0.1);
    for (const { executor } of [exact, scaled, tooSmall]) await executor.dispose();
  });

  test('it learns as in f32', async () => {
    const steps = 20;
    const losses = async (compute: ComputeType) => {
      const { trainer, executor } = onTorch(compute);
      const found: number[] = [];
      for (let i = 0; i < steps; i++) {
        found.push((await trainer.step([batchOf(0, 1)], i, rates)).loss);
      }
      await executor.dispose();
      return found;
    };
    const exact = await losses('f32');
    const half = await losses('f16');
    expect(exact.at(-1)!).toBeLessThan(0.5 * exact[0]!);
    // 3e-4 apart at most; AdamW's first steps are as large for a gradient that is all rounding.
    expect(half).toBeAllClose(exact, { rtol: 3e-3, atol: 0 });
  });
});
