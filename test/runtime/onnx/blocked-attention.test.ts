/** @file The gradients of attention whose scores are too many to be held at once. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Executor } from '../../../src/runtime/executor.ts';
import { createOnnxExecutor } from '../../../src/runtime/onnx/onnx-executor.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { parametersFrom } from '../../helpers/executors.ts';

/** 9.7 million scores: blocks of 7 and 1 heads, of 1024 and 76 queries. */
const [tokens, heads] = [1100, 8];
const shape = [1, tokens, heads];
const parameters = parametersFrom({});

async function gradients(executor: Executor) {
  const g = new GraphBuilder();
  const [q, k, v, ct] = ['q', 'k', 'v', 'ct'].map((name) => g.input(name, shape));
  const y = g.attention(q!, k!, v!, { heads, scale: 1.5, causal: false });
  const loss = g.reshape(g.sum(g.mul(y, ct!), [0, 1, 2]), [1]);
  const [dq, dk, dv] = grad(g, loss, [q!, k!, v!]);
  const executable = await executor.compile(g.build({ dq: dq!, dk: dk!, dv: dv! }));
  const value = (name: string) => f32(shape, new Rng(3, name).normals(tokens * heads));
  const feeds = { q: value('q'), k: value('k'), v: value('v'), ct: value('ct') };
  const values = await executable.run(feeds);
  await executor.dispose();
  return values;
}

test('equal the reference', { timeout: 60_000 }, async () => {
  const expected = await gradients(createReferenceExecutor({ parameters, precision: 'f32' }));
  const found = await gradients(createOnnxExecutor({ parameters }));
  for (const [name, { data }] of Object.entries(expected)) {
    const [right, ours] = [data, found[name]!.data].map((values) => Array.from(values, Number));
    const largest = Math.max(...right!.map(Math.abs));
    const error = Math.max(...right!.map((x, i) => Math.abs(x - ours![i]!)));
    // Sums of 1100 float32 products.
    expect(error / largest, name).toBeLessThan(2e-5);
  }
});
