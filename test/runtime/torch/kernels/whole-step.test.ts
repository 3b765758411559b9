/** @file A whole training step with kernels of our own, run on the processor, beside the same step without. */

import { describe, expect, test, vi } from 'vitest';
import { randomModel } from '../../../../bench/bench-model.ts';
import { parseCase } from '../../../../bench/cases.ts';
import { TrainingStep } from '../../../../bench/training-step.ts';
import type { KernelLauncher } from '../../../../src/runtime/torch/kernels/kernel.ts';
import { createTorchExecutor } from '../../../../src/runtime/torch/torch-executor.ts';
import { gradientVariable, momentVariables } from '../../../../src/train/lora-step.ts';
import { torchMissing } from '../../../helpers/executors.ts';
import { compilerMissing, hostLauncher } from '../../../helpers/host-kernels.ts';

// Some dozens of kernels are compiled.
vi.setConfig({ testTimeout: 120_000 });

const missing = torchMissing ?? compilerMissing;
const suite = missing === undefined ? 'steps by own kernels' : `steps (skipped: ${missing})`;

async function steps(name: string, launcher?: KernelLauncher) {
  const bench = parseCase(name);
  const model = randomModel(bench, 3);
  const executor = createTorchExecutor({
    parameters: model,
    device: 'cpu',
    compute: 'f32',
    threads: 2,
    ...(launcher ? { launcher } : {}),
  });
  try {
    const training = new TrainingStep(executor, model, { ...bench, rank: 4 }, 3);
    await training.build();
    await training.run(0);
    await training.settle();
    const read = (name: string) => executor.readVariable(name).data as Float32Array;
    const [first, second] = momentVariables(training.layout);
    return {
      losses: training.losses,
      // What AdamW makes of it: a tenth of the gradient, and a thousandth of its square.
      changes: [gradientVariable(training.layout), first, second].map(read),
    };
  } finally {
    await executor.dispose();
  }
}

const kinds = [
  ...['geglu', 'gegluGrad', 'groupNorm', 'groupNormGrad', 'groupNormGradStatistics'],
  ...['groupNormStatistics', 'layerNorm', 'layerNormGrad', 'pointwise'],
];

describe.skipIf(missing !== undefined)(suite, () => {
  const launcher = missing === undefined ? hostLauncher() : undefined;

  test.each(['sd15-tiny-128-b1', 'sdxl-tiny-64-b1-ckpt'])('%s', async (name) => {
    launcher!.entries.length = 0;
    const own = await steps(name, launcher);
    expect([...new Set(launcher!.entries)].sort()).toEqual(kinds);
    const plain = await steps(name);
    expect(own.losses[0]).toBeCloseTo(plain.losses[0]!, 5);
    for (const [i, values] of plain.changes.entries()) {
      let [size, difference] = [0, 0];
      for (const [j, value] of values.entries()) {
        size += value ** 2;
        difference += (own.changes[i]![j]! - value) ** 2;
      }
      expect(size).toBeGreaterThan(0);
      // Both are within 3e-6 of the gradient in f64.
      expect(Math.sqrt(difference / size)).toBeLessThan(1e-5);
    }
  });
});
