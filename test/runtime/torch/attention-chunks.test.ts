/** @file Attention in chunks of its queries, on the processor: the same as of all at once, and its gradients. */

import { describe, expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { DeviceMemory } from '../../../src/runtime/torch/device-memory.ts';
import { findLibtorch } from '../../../src/runtime/torch/find-libtorch.ts';
import { tryGraph } from '../../../src/runtime/torch/graph-trial.ts';
import type { AttentionChoice, ComputeType } from '../../../src/runtime/torch/rules/rule.ts';
import { unchunked } from '../../../src/runtime/torch/rules/rule.ts';
import { loadTorchLibrary } from '../../../src/runtime/torch/torch-library.ts';
import { torchMissing } from '../../helpers/executors.ts';

const suite =
  torchMissing === undefined ? 'attention in chunks' : `chunks (skipped: ${torchMissing})`;
const [queries, keys, heads, channels] = [24, 7, 3, 8];
const width = heads * channels;

interface Lying {
  readonly batch: number;
  /** Whether keys and values are parts of one product. */
  readonly joined: boolean;
  readonly wanted: readonly ('q' | 'k' | 'v')[];
}

/** Output and gradients of attention to a caption. */
function graphOf({ batch, joined, wanted }: Lying) {
  const g = new GraphBuilder();
  const q = g.input('q', [batch, queries, width]);
  const kv = g.input('kv', [batch, keys, 2 * width]);
  const half = (i: number) => g.sliceAxis(kv, 2, i * width, (i + 1) * width);
  const [k, v] = joined
    ? [half(0), half(1)]
    : ['k', 'v'].map((name) => g.input(name, [batch, keys, width]));
  const out = g.attention(q, k!, v!, { heads, scale: 0.4, causal: false });
  const ct = g.input('ct', [batch, queries, width]);
  const of = { q, k: k!, v: v! };
  const gradients = grad(
    g,
    g.sum(g.mul(out, ct), [0, 1, 2]),
    wanted.map((name) => of[name]),
  );
  const outputs: Record<string, Node> = { out };
  for (const [i, name] of wanted.entries()) outputs[`d${name}`] = gradients[i]!;
  return g.build(outputs);
}

describe.skipIf(torchMissing !== undefined)(suite, () => {
  const run = (lying: Lying, choice: AttentionChoice, compute: ComputeType = 'f32') => {
    const library = loadTorchLibrary(findLibtorch());
    const memory = new DeviceMemory(library, { kind: 'cpu', index: -1 });
    const target = {
      compute,
      attention: () => choice,
      channelsLast: true,
      normsTakeChannelsLast: true,
      addsProducts: false,
    };
    return tryGraph({ library, memory, target }, graphOf(lying)).results;
  };

  const all = ['q', 'k', 'v'] as const;
  const lyings: readonly Lying[] = [
    { batch: 1, joined: true, wanted: all },
    { batch: 1, joined: false, wanted: all },
    { batch: 3, joined: true, wanted: all },
    { batch: 3, joined: false, wanted: all },
    { batch: 2, joined: true, wanted: ['q'] },
    { batch: 2, joined: true, wanted: ['v'] },
  ];
  describe.each(['cpu', 'composed'] as const)('%s', (kernel) => {
    test.each(lyings)('%o: output and gradients are the same in 2, 3 and 8', (lying) => {
      const expected = run(lying, unchunked(kernel));
      expect(expected).toHaveLength(1 + lying.wanted.length);
      for (const chunks of [2, 3, 8]) {
        const results = run(lying, { kernel, chunks });
        for (const [i, values] of expected.entries()) {
          // Sums of 24 products of f32 in another order; values are up to 10.
          expect(results[i]).toBeAllClose(values, { rtol: 1e-5, atol: 1e-5 });
        }
      }
    });
  });

  test('in bf16 they differ by roundings', () => {
    const lying = { batch: 2, joined: true, wanted: all };
    const expected = run(lying, unchunked('cpu'), 'bf16');
    const results = run(lying, { kernel: 'cpu', chunks: 4 }, 'bf16');
    const largest = Math.max(...expected.flatMap((values) => Array.from(values, Math.abs)));
    // 2⁻⁸ of a value is one rounding; each of four parts of a sum is rounded, and so is the sum.
    for (const [i, values] of expected.entries()) {
      expect(results[i]).toBeAllClose(values, { rtol: 2 ** -7, atol: largest * 2 ** -7 });
    }
  });

  test('what does not divide the queries is refused', () => {
    const lying = { batch: 1, joined: true, wanted: all };
    expect(() => run(lying, { kernel: 'cpu', chunks: 5 })).toThrow(
      'internal: 24 queries cannot be 5 chunks',
    );
  });
});
