/** @file Names of benchmark cases. */

import { expect, test } from 'vitest';
import { randomModel } from '../../bench/bench-model.ts';
import { parseCase } from '../../bench/cases.ts';
import { growthPerThousand } from '../../bench/memory-series.ts';
import { TrainingStep } from '../../bench/training-step.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { sizeOf } from '../../src/tensor/shape.ts';

test('a name says model, size, batch and checkpointing', () => {
  expect(parseCase('sdxl-1024-b4-ckpt')).toMatchObject({
    family: 'sdxl',
    tiny: false,
    resolution: 1024,
    batch: 4,
    checkpointing: true,
  });
  expect(parseCase('sd15-tiny-128-b1')).toMatchObject({ family: 'sd1', tiny: true, batch: 1 });
});

test.each(['sd3-512-b1', 'sd15-500-b1', 'sd15-512-b0', 'sd15-512', 'sd15-512-b1-fast'])(
  '%s is no case',
  (name) => expect(() => parseCase(name)).toThrow(/is no case: give such as sd15-512-b1/),
);

test.each([
  ['sd15-512-b1', 859_520_964],
  ['sdxl-1024-b1', 2_567_463_684],
])("%s has the published UNet's weights", (name, count) => {
  const { shapes } = randomModel(parseCase(name), 0);
  const unet = [...shapes].filter(([key]) => key.startsWith('unet.'));
  expect(unet.reduce((sum, [, shape]) => sum + sizeOf(shape), 0)).toBe(count);
});

test.each(['sd21-tiny-64-b1', 'sdxl-tiny-64-b1-ckpt'])(
  '%s takes a step, and changes the factors',
  async (name) => {
    const bench = parseCase(name);
    const model = randomModel(bench, 0);
    const executor = createReferenceExecutor({ parameters: model, precision: 'f32' });
    const training = new TrainingStep(executor, model, { ...bench, rank: 2 });
    await training.build();
    const before = executor.readVariable(training.layout.variable).data;
    const times = await training.run(0);
    expect(training.losses[0]).toBeGreaterThan(0.5);
    expect(training.losses[0]).toBeLessThan(2);
    expect(executor.readVariable(training.layout.variable).data).not.toEqual(before);
    expect(times.step).toBeCloseTo(times.feeds + times.gradients + times.optimizer, 6);
    await executor.dispose();
  },
);

test('growth is the slope of the second half', () => {
  const samples = Array.from({ length: 20 }, (_, i) => ({
    step: 100 * i,
    host: i < 5 ? 100 * i : 500 + 0.2 * i,
    heap: 0,
  }));
  expect(growthPerThousand(samples, ({ host }) => host)).toBeCloseTo(2, 6);
  expect(growthPerThousand(samples, ({ heap }) => heap)).toBe(0);
});
