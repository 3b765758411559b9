/** @file AdamW against the recurrence written out in f64, and against the direction of its steps. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import { createReferenceExecutor } from '../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import {
  type AdamwOptions,
  adamwCorrections,
  adamwDefaults,
  adamwGraph,
  adamwInputs,
} from '../../src/train/adamw.ts';

const size = 50;

/** Runs `steps` updates on the executor; gradients are normal draws. */
async function trained(steps: number, options: AdamwOptions, rates: (step: number) => number) {
  const executor = createReferenceExecutor({
    parameters: { read: () => new Float32Array(0) },
    precision: 'f32',
  });
  const g = new GraphBuilder();
  const state = {
    param: g.variable('param', [size]),
    m: g.variable('m', [size]),
    v: g.variable('v', [size]),
  };
  const next = adamwGraph(g, state, g.input('gradient', [size]), adamwInputs(g), options);
  const step = await executor.compile(g.build({}, { ...next }));
  executor.writeVariable('param', f32([size], start()));
  executor.writeVariable('m', f32([size]));
  executor.writeVariable('v', f32([size]));
  for (let t = 1; t <= steps; t++) {
    const feeds = { gradient: f32([size], gradient(t)), learningRate: f32([], [rates(t)]) };
    await step.run({ ...feeds, ...adamwCorrections(t, options) });
  }
  return executor.readVariable('param').data;
}

const start = () => new Rng(3, 'start').normals(size);
const gradient = (t: number) => new Rng(3, 'gradient', t).normals(size).map((x) => x * 1e-3);

/** The same as Loshchilov and Hutter's algorithm 2 says, one weight at a time. */
function written(steps: number, options: AdamwOptions, rates: (step: number) => number) {
  const { betas, epsilon, weightDecay } = options;
  return Array.from(start(), (first, i) => {
    let [param, m, v] = [first, 0, 0];
    for (let t = 1; t <= steps; t++) {
      const slope = gradient(t)[i]!;
      const rate = rates(t);
      param -= rate * weightDecay * param;
      m = betas[0] * m + (1 - betas[0]) * slope;
      v = betas[1] * v + (1 - betas[1]) * slope ** 2;
      const mean = m / (1 - betas[0] ** t);
      param -= (rate * mean) / (Math.sqrt(v / (1 - betas[1] ** t)) + epsilon);
    }
    return param;
  });
}

test.each([
  ['the defaults', adamwDefaults],
  ['no decay', { ...adamwDefaults, weightDecay: 0 }],
  ['other rates', { betas: [0.8, 0.95], epsilon: 1e-4, weightDecay: 0.3 }],
] as const)('ten steps with %s', async (_, options) => {
  const rates = (t: number) => 1e-3 * t;
  const found = await trained(10, options, rates);
  expect(found).toBeAllClose(written(10, options, rates), { rtol: 1e-5, atol: 1e-6 });
});

test('the first step is as long as the learning rate', async () => {
  const found = await trained(1, { ...adamwDefaults, epsilon: 1e-12, weightDecay: 0 }, () => 0.1);
  const moved = found.map((value, i) => value - start()[i]!);
  expect(moved.map(Math.abs)).toBeAllClose(new Float32Array(size).fill(0.1), { rtol: 1e-4 });
});

test('steps count from 1', () => {
  expect(() => adamwCorrections(0)).toThrow('count from 1');
});
