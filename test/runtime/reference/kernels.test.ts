/** @file What operations mean: small cases computed by hand or by their textbook formula. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Node } from '../../../src/graph/ops.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { i32 } from '../../../src/tensor/tensor.ts';
import { noParameters } from '../../helpers/executors.ts';

const executor = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });

async function evaluate(build: (g: GraphBuilder) => Node): Promise<number[]> {
  const g = new GraphBuilder();
  const executable = await executor.compile(g.build({ y: build(g) }));
  const { y } = await executable.run({});
  return Array.from(y!.data as Float64Array);
}

/** start, start + 1, … */
function counting(g: GraphBuilder, shape: readonly number[], start = 0): Node {
  const size = shape.reduce((n, d) => n * d, 1);
  return g.constant(
    Array.from({ length: size }, (_, i) => start + i),
    shape,
  );
}

describe('elementwise', () => {
  test.each<[string, (g: GraphBuilder, x: Node) => Node, number, number]>([
    ['exp', (g, x) => g.exp(x), 1, Math.E],
    ['sqrt', (g, x) => g.sqrt(x), 2, Math.SQRT2],
    ['sigmoid', (g, x) => g.sigmoid(x), Math.log(3), 0.75],
    ['sigmoid', (g, x) => g.sigmoid(x), -1000, 0],
    ['silu', (g, x) => g.silu(x), -Math.log(3), -Math.log(3) / 4],
    ['silu', (g, x) => g.silu(x), 800, 800],
    // Φ(1) = 0.841344746068543 (Abramowitz and Stegun, table 26.1).
    ['gelu', (g, x) => g.gelu(x), 1, 0.841344746068543],
    ['gelu', (g, x) => g.gelu(x), -1, -0.158655253931457],
    ['quickGelu', (g, x) => g.quickGelu(x), Math.log(3) / 1.702, (0.75 * Math.log(3)) / 1.702],
  ])('%s', async (_, apply, x, expected) => {
    const values = await evaluate((g) => apply(g, g.constant(x, [1])));
    expect(values).toBeAllClose([expected], { rtol: 1e-14, atol: 1e-15 });
  });

  test('broadcasting pairs rows and columns', async () => {
    const table = await evaluate((g) => g.sub(counting(g, [2, 1], 10), counting(g, [3])));
    expect(table).toEqual([10, 9, 8, 11, 10, 9]);
    expect(await evaluate((g) => g.div(counting(g, [2], 1), g.constant(4)))).toEqual([0.25, 0.5]);
  });
});

describe('matrices', () => {
  test('matmul, with either side transposed', async () => {
    // a = [[0 1 2] [3 4 5]].
    const product = (b: (g: GraphBuilder) => Node, attrs: object) =>
      evaluate((g) => g.matmul(counting(g, [2, 3]), b(g), attrs));
    expect(await product((g) => counting(g, [3, 2]), {})).toEqual([10, 13, 28, 40]);
    expect(
      await product((g) => g.constant([0, 2, 4, 2, 2, 2], [2, 3]), { transposeA: true }),
    ).toEqual([6, 6, 6, 8, 10, 12, 10, 14, 18]);
    expect(await product((g) => counting(g, [2, 3]), { transposeB: true })).toEqual([
      5, 14, 14, 50,
    ]);
  });

  test('both transposed, two in a batch', async () => {
    // [[0 1] [2 3]]ᵀ·[[0 1] [2 3]]ᵀ, and the same of [[4 5] [6 7]].
    const values = await evaluate((g) => {
      const a = counting(g, [2, 2, 2]);
      return g.matmul(a, a, { transposeA: true, transposeB: true });
    });
    expect(values).toEqual([2, 6, 3, 11, 46, 66, 55, 79]);
  });

  test('linear: rows of the weight are outputs', async () => {
    const values = await evaluate((g) =>
      g.linear(
        g.constant([1, 2, 3, 4], [1, 2, 2]),
        g.constant([1, 0, 0, 1, 1, 1], [3, 2]),
        g.constant([10, 20, 30], [3]),
      ),
    );
    expect(values).toEqual([11, 22, 33, 13, 24, 37]);
  });
});

describe('conv2d', () => {
  const image = (g: GraphBuilder) => counting(g, [1, 1, 3, 3], 1);
  const conv = (options: {
    stride?: number;
    padding?: number | [number, number, number, number];
  }) =>
    evaluate((g) =>
      g.conv2d(image(g), g.constant([1, 10, 100, 1000], [1, 1, 2, 2]), undefined, options),
    );

  test('is a correlation: the kernel is not turned around', async () => {
    expect(await conv({})).toEqual([5421, 6532, 8754, 9865]);
  });

  test('padding on the top and the left', async () => {
    const values = await conv({ padding: [1, 1, 0, 0] });
    expect(values).toEqual([1000, 2100, 3200, 4010, 5421, 6532, 7040, 8754, 9865]);
  });

  test('padding on the bottom and the right, stride 2', async () => {
    expect(await conv({ padding: [0, 0, 1, 1], stride: 2 })).toEqual([5421, 603, 87, 9]);
  });

  test('channels add up, and each image and output has its own', async () => {
    const values = await evaluate((g) =>
      g.conv2d(
        g.constant([1, 2, 3, 4], [2, 2, 1, 1]),
        g.constant([1, 1, 10, -1], [2, 2, 1, 1]),
        g.constant([0, 100], [2]),
      ),
    );
    expect(values).toEqual([3, 108, 7, 126]);
  });
});

describe('attention', () => {
  const even = { heads: 1, scale: 1 } as const;

  test('equal scores average the values', async () => {
    const values = await evaluate((g) =>
      g.attention(g.constant(0, [1, 2, 2]), counting(g, [1, 4, 2]), counting(g, [1, 4, 2]), {
        ...even,
        causal: false,
      }),
    );
    expect(values).toBeAllClose([3, 4, 3, 4]);
  });

  test('causal: a query sees the keys up to its own position', async () => {
    const values = await evaluate((g) =>
      g.attention(
        g.constant(0, [1, 3, 1]),
        g.constant(0, [1, 3, 1]),
        g.constant([1, 3, 8], [1, 3, 1]),
        { ...even, causal: true },
      ),
    );
    expect(values).toBeAllClose([1, 2, 4]);
  });

  test('scores are scaled, and heads are apart', async () => {
    // Head 1: scores 0 and 2·ln 3/2; head 2: equal scores.
    const values = await evaluate((g) =>
      g.attention(
        g.constant([2, 0], [1, 1, 2]),
        g.constant([0, 5, Math.log(3), 9], [1, 2, 2]),
        g.constant([0, 10, 1, 20], [1, 2, 2]),
        { heads: 2, scale: 0.5, causal: false },
      ),
    );
    expect(values).toBeAllClose([0.75, 15]);
  });

  test('large scores do not overflow', async () => {
    const values = await evaluate((g) =>
      g.attention(
        g.constant([1000], [1, 1, 1]),
        g.constant([1000, -1000], [1, 2, 1]),
        g.constant([3, 4], [1, 2, 1]),
        { ...even, causal: false },
      ),
    );
    expect(values).toBeAllClose([3]);
  });
});

describe('norms', () => {
  test('layerNorm: mean 0 and variance 1 of each row, then scale and bias', async () => {
    const values = await evaluate((g) =>
      g.layerNorm(
        g.constant([1, 3, -5, 5], [2, 2]),
        g.constant([1, 10], [2]),
        g.constant([0, 100], [2]),
        0,
      ),
    );
    expect(values).toBeAllClose([-1, 110, -1, 110]);
  });

  test('epsilon is added to the variance', async () => {
    const values = await evaluate((g) =>
      g.layerNorm(g.constant([1, 3], [1, 2]), g.constant(1, [2]), g.constant(0, [2]), 3),
    );
    expect(values).toBeAllClose([-0.5, 0.5]);
  });

  test('groupNorm: over the channels of a group, with a scale for each channel', async () => {
    // Groups of two channels with one pixel each: (1, 3) and (-5, 5); another image: (2, 2.5), (0, 8).
    const values = await evaluate((g) =>
      g.groupNorm(
        g.constant([1, 3, -5, 5, 2, 2.5, 0, 8], [2, 4, 1, 1]),
        g.constant([1, 2, 3, 4], [4]),
        g.constant([0, 0, 0, 1], [4]),
        2,
        0,
      ),
    );
    expect(values).toBeAllClose([-1, 2, -3, 5, -1, 2, -3, 5]);
  });
});

describe('movement', () => {
  test.each<[string, (g: GraphBuilder) => Node, number[]]>([
    ['reshape', (g) => g.reshape(counting(g, [2, 3]), [3, 2]), [0, 1, 2, 3, 4, 5]],
    ['transpose', (g) => g.transpose(counting(g, [2, 3]), [1, 0]), [0, 3, 1, 4, 2, 5]],
    [
      'transpose of three',
      (g) => g.transpose(counting(g, [2, 1, 3]), [2, 0, 1]),
      [0, 3, 1, 4, 2, 5],
    ],
    [
      'concat',
      (g) => g.concat([counting(g, [2, 1]), counting(g, [2, 2], 10)], 1),
      [0, 10, 11, 1, 12, 13],
    ],
    [
      'slice',
      (g) => g.emit('slice', [counting(g, [3, 4])], { starts: [1, 2], ends: [3, 4] }),
      [6, 7, 10, 11],
    ],
    ['pad', (g) => g.pad(counting(g, [1, 2], 1), [1, 0], [0, 1]), [0, 0, 0, 1, 2, 0]],
    ['expand', (g) => g.expand(counting(g, [2, 1]), [2, 2, 2]), [0, 0, 1, 1, 0, 0, 1, 1]],
    ['sum of rows', (g) => g.sum(counting(g, [2, 3]), [1]), [3, 12]],
    ['sum of columns', (g) => g.sum(counting(g, [2, 3]), [0]), [3, 5, 7]],
    ['mean', (g) => g.mean(counting(g, [2, 2]), [0, 1]), [1.5]],
    [
      'upsampleNearest to an odd size',
      (g) => g.upsampleNearest(counting(g, [1, 1, 2, 2]), 3, 5),
      [0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3],
    ],
    ['barrier', (g) => g.barrier(counting(g, [2]), g.constant(9)), [0, 1]],
  ])('%s', async (_, build, expected) => {
    expect(await evaluate(build)).toEqual(expected);
  });

  test('gather takes rows', async () => {
    const g = new GraphBuilder();
    const rows = g.gather(counting(g, [3, 2]), g.input('ids', [1, 3], 'i32'));
    const executable = await executor.compile(g.build({ rows }));
    const { rows: fetched } = await executable.run({ ids: i32([1, 3], [2, 0, 2]) });
    expect(fetched).toEqual({
      dtype: 'f64',
      shape: [1, 3, 2],
      data: Float64Array.of(4, 5, 0, 1, 4, 5),
    });
    await expect(executable.run({ ids: i32([1, 3], [0, 3, 0]) })).rejects.toThrow(
      'internal: row 3 of a table with 3 rows',
    );
  });

  test('a value with no elements', async () => {
    expect(await evaluate((g) => g.exp(g.sliceAxis(counting(g, [2, 3]), 0, 1, 1)))).toEqual([]);
    expect(await evaluate((g) => g.sum(g.sliceAxis(counting(g, [2, 3]), 0, 1, 1), [0]))).toEqual([
      0, 0, 0,
    ]);
  });
});
