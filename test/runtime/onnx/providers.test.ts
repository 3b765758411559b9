/** @file ONNX Runtime's providers: those that are not there are refused, and graphs fit those that are. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import { lowerGraph } from '../../../src/runtime/onnx/lower-graph.ts';
import { createOnnxExecutor } from '../../../src/runtime/onnx/onnx-executor.ts';
import { installedProviders } from '../../../src/runtime/onnx/providers.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { UserError } from '../../../src/tensor/user-error.ts';
import { noParameters, parametersFrom } from '../../helpers/executors.ts';

test.each(['dml', 'coreml', 'cuda'].filter((name) => !installedProviders().includes(name)))(
  '%s is refused, and what there is is named',
  (provider) => {
    const create = () => createOnnxExecutor({ parameters: noParameters, provider });
    expect(create).toThrow(UserError);
    expect(create).toThrow(
      new RegExp(`^device\\.provider: ${provider} is not in the ONNX Runtime for .*; it has: cpu`),
    );
  },
);

/** A linear layer, attention and all gradients, with a frozen weight. */
function attentionGraph() {
  const g = new GraphBuilder();
  const x = g.input('x', [1, 4, 6]);
  const q = g.linear(x, g.parameter('w', [6, 6]));
  const y = g.attention(q, x, x, { heads: 2, scale: 0.5, causal: false });
  const [dx] = grad(g, g.sum(g.square(y), [0, 1, 2]), [x]);
  return g.build({ y, dx: dx! });
}

test('without fused products there is none', () => {
  const kinds = (fusesProducts: boolean) =>
    lowerGraph(attentionGraph(), { flipWeights: true, fusesProducts }).model.nodes.map(
      ({ opType }) => opType,
    );
  expect(kinds(true)).toContain('FusedMatMul');
  expect(kinds(false)).not.toContain('FusedMatMul');
});

/** Why WebGPU is not tested here; undefined where it works. */
async function webgpuMissing(): Promise<string | undefined> {
  const g = new GraphBuilder();
  const graph = g.build({ y: g.exp(g.input('x', [1])) });
  try {
    const executor = createOnnxExecutor({ parameters: noParameters, provider: 'webgpu' });
    await executor.compile(graph);
    await executor.dispose();
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

test('WebGPU computes what the processor does, where there is a GPU', async ({ skip }) => {
  const missing = await webgpuMissing();
  skip(missing !== undefined, missing);
  const parameters = parametersFrom({
    w: f32(
      [6, 6],
      Array.from({ length: 36 }, (_, i) => Math.sin(i)),
    ),
  });
  const feeds = {
    x: f32(
      [1, 4, 6],
      Array.from({ length: 24 }, (_, i) => Math.cos(i)),
    ),
  };
  const [onCpu, onGpu] = await Promise.all(
    ['cpu', 'webgpu'].map(async (provider) => {
      const executor = createOnnxExecutor({ parameters, provider, threads: 1 });
      const outputs = await (await executor.compile(attentionGraph())).run(feeds);
      await executor.dispose();
      return outputs;
    }),
  );
  for (const name of ['y', 'dx']) {
    // Sums of a few terms in f32, in another order.
    expect(onGpu![name]!.data).toBeAllClose(onCpu![name]!.data as Float32Array, {
      rtol: 1e-5,
      atol: 1e-5,
    });
  }
});
