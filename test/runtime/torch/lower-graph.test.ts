/** @file Which of libtorch's kernels a graph is lowered to, for devices that are not here. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { cudaChoices } from '../../../src/runtime/torch/attention-trials.ts';
import { lowerGraph } from '../../../src/runtime/torch/lower-graph.ts';
import {
  type AttentionSizes,
  type LoweringTarget,
  unchunked,
} from '../../../src/runtime/torch/rules/rule.ts';

const codes = {
  dtypeCodes: { f32: 6, f16: 5, bf16: 15, i32: 3, i64: 4, bool: 11 },
  memoryFormats: { contiguous: 0, channelsLast: 2 },
};

const cuda: LoweringTarget = {
  compute: 'f16',
  attention: () => unchunked('flash'),
  channelsLast: true,
  normsTakeChannelsLast: false,
  addsProducts: false,
};

/** The operation that attention with so many channels in a head becomes. */
function attentionKernel(changes: Partial<LoweringTarget>, channels: number): string | undefined {
  const target: LoweringTarget = { ...cuda, ...changes };
  const g = new GraphBuilder();
  const [q, k, v] = ['q', 'k', 'v'].map((name) => g.input(name, [1, 4, channels]));
  const out = g.attention(q!, k!, v!, { heads: 1, scale: 1, causal: false });
  const { calls } = lowerGraph(g.build({ out }), target, codes);
  const ops = calls.flatMap((call) => ('op' in call ? [call.op] : []));
  return ops.find((op) => /attention|softmax/.test(op))?.replace('_scaled_dot_product_', '');
}

test.each([
  ['cuda', 'f16', 40, 'flash_attention'],
  ['cuda', 'bf16', 160, 'flash_attention'],
  ['cuda', 'f32', 64, 'efficient_attention'],
  // The VAE's, of one head.
  ['cuda', 'bf16', 512, 'efficient_attention'],
  ['cuda', 'f16', 20, 'softmax'],
  ['oldCuda', 'f16', 40, 'efficient_attention'],
  ['oldCuda', 'f32', 512, 'efficient_attention'],
] as const)(
  'the surest attention on %s in %s, %i channels: %s',
  (gpu, compute, channels, kernel) => {
    const attention = (sizes: AttentionSizes) => cudaChoices(sizes, compute, gpu === 'oldCuda')[0]!;
    expect(attentionKernel({ attention, compute }, channels)).toBe(kernel);
  },
);

test.each([
  ['composed', 'f16', 'softmax'],
  ['cpu', 'f32', 'flash_attention_for_cpu'],
] as const)('attention by the kernel %s in %s: %s', (kernel, compute, op) => {
  expect(attentionKernel({ attention: () => unchunked(kernel), compute }, 40)).toBe(op);
});

test.each(['flash', 'cudnn'] as const)('%s attention is a C function, both ways', (kernel) => {
  const g = new GraphBuilder();
  const [q, k, v] = ['q', 'k', 'v'].map((name) => g.input(name, [1, 4, 8]));
  const out = g.attention(q!, k!, v!, { heads: 1, scale: 1, causal: false });
  const [dq] = grad(g, g.sum(out, [0, 1, 2]), [q!]);
  const target = { ...cuda, attention: () => unchunked(kernel) };
  const { calls } = lowerGraph(g.build({ out, dq: dq! }), target, codes);
  const native = calls.flatMap((call) => (call.kind === 'native' ? [call.op] : []));
  const op = `_scaled_dot_product_${kernel}_attention`;
  expect(native).toEqual([op, `${op}_backward`]);
});

test('tokens whose channels may not lie side by side are copied for attention, others are not', () => {
  const copies = (make: (g: GraphBuilder, tokens: Node, image: Node) => Node) => {
    const g = new GraphBuilder();
    const tokens = g.input('tokens', [1, 16, 24]);
    const x = make(g, tokens, g.input('image', [1, 8, 16]));
    const out = g.attention(x, x, x, { heads: 1, scale: 1, causal: false });
    const { calls } = lowerGraph(g.build({ out: g.sum(out, [0, 1, 2]) }), cuda, codes);
    return calls.filter((call) => 'op' in call && call.op === 'contiguous').length - 1;
  };
  // The last copy is of the output.
  expect(copies((g, _, image) => g.transpose(image, [0, 2, 1]))).toBe(1);
  expect(copies((g, _, image) => g.silu(g.transpose(image, [0, 2, 1])))).toBe(1);
  // One of three products that are computed as one.
  const weight = (g: GraphBuilder) => g.parameter('w', [24, 24]);
  expect(copies((g, tokens) => g.sliceAxis(g.linear(tokens, weight(g)), 2, 8, 16))).toBe(0);
  const rows = (g: GraphBuilder, tokens: Node) => g.linear(tokens, weight(g));
  expect(copies((g, tokens) => g.add(rows(g, tokens), tokens))).toBe(0);
});
