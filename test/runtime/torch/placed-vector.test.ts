/** @file A vector put together from products and other values: what is written to its place, and that all is right. */

import { describe, expect, test } from 'vitest';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../../src/graph/ops.ts';
import type { Values } from '../../../src/runtime/executor.ts';
import { createReferenceExecutor } from '../../../src/runtime/reference/reference-executor.ts';
import { lowerGraph } from '../../../src/runtime/torch/lower-graph.ts';
import {
  type ComputeType,
  type LoweringTarget,
  unchunked,
} from '../../../src/runtime/torch/rules/rule.ts';
import { createTorchExecutor } from '../../../src/runtime/torch/torch-executor.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../../src/tensor/shape.ts';
import { f32 } from '../../../src/tensor/tensor.ts';
import { noParameters, torchMissing } from '../../helpers/executors.ts';

const target: LoweringTarget = {
  compute: 'bf16',
  attention: () => unchunked('composed'),
  channelsLast: true,
  normsTakeChannelsLast: true,
  addsProducts: true,
};
const codes = {
  dtypeCodes: { f32: 6, f16: 5, bf16: 15, i32: 3, i64: 4, bool: 11 },
  memoryFormats: { contiguous: 0, channelsLast: 2 },
};

const shapes = { a: [4, 6], b: [4, 3], batches: [3, 4, 5], more: [3, 4, 2], image: [1, 2, 5, 5] };

/** Values whose elements can be parts of a vector. */
function someParts(g: GraphBuilder) {
  const x = (name: keyof typeof shapes) => g.input(name, shapes[name]);
  const flat = (node: Node) => g.reshape(node, [sizeOf(node.shape)]);
  const product = g.matmul(x('a'), x('b'), { transposeA: true });
  const other = () => g.matmul(g.add(x('a'), x('a')), x('b'), { transposeA: true });
  const batch = g.matmul(x('batches'), x('more'), { transposeA: true });
  const image = g.conv2d(x('image'), g.reshape(g.sliceAxis(flat(product), 0, 0, 18), [1, 2, 3, 3]));
  return { flat, product, other, batch, image, a: x('a') };
}

/** All kinds of parts, two of them side by side that are one product's. */
function vectorOfAll(g: GraphBuilder): Node {
  const { flat, product, other, batch, image, a } = someParts(g);
  const halves = flat(g.scale(other(), 0.5));
  const third = flat(other());
  const part = flat(g.matmul(a, g.scale(a, 2), { transposeB: true }));
  return g.concat(
    [
      g.sliceAxis(flat(batch), 0, 0, 10),
      g.sliceAxis(flat(batch), 0, 10, 30),
      flat(image),
      third,
      g.constant(0, [7]),
      // Read by the convolution too.
      flat(product),
      // Less than the whole product.
      g.sliceAxis(part, 0, 3, 11),
      g.scale(halves, 3),
      flat(g.matmul(a, g.scale(a, -1), { transposeB: true })),
    ],
    0,
  );
}

function callsOf(make: (g: GraphBuilder) => Node) {
  const g = new GraphBuilder();
  const { calls } = lowerGraph(g.build({ out: make(g) }), target, codes);
  const ops = calls.map((call) => ('op' in call ? call.op : call.kind));
  return (name: string) => ops.filter((op) => op === name).length;
}

test('products are written to the vector, and nothing is concatenated', () => {
  const count = callsOf((g) => {
    const { flat, other, batch } = someParts(g);
    return g.concat([flat(other()), flat(batch), flat(other())], 0);
  });
  expect(count('mm')).toBe(2);
  expect(count('bmm')).toBe(1);
  expect(count('matmul')).toBe(0);
  expect(count('cat')).toBe(0);
  // None of them is but a sixteenth of the whole.
  expect(count('place')).toBe(3);
});

test('small parts share a piece, which is copied at once', () => {
  const count = callsOf((g) => {
    const rows = Array.from({ length: 64 }, (_, i) => g.input(`x${i}`, [8, 2]));
    return g.concat(
      rows.map((x) => g.reshape(g.matmul(x, x, { transposeA: true }), [4])),
      0,
    );
  });
  expect(count('mm')).toBe(64);
  expect(count('place')).toBe(16);
  expect(count('allocate')).toBe(16 + 1);
});

test('a vector without products is concatenated', () => {
  const count = callsOf((g) => {
    const { flat, a } = someParts(g);
    return g.concat([flat(a), g.constant(0, [3])], 0);
  });
  expect(count('cat')).toBe(1);
  expect(count('allocate')).toBe(0);
});

test('parts that cannot be written to their place are copied there', () => {
  const count = callsOf(vectorOfAll);
  expect(count('cat')).toBe(0);
  // The third one and the last; slices of the batch are two parts here, which no pass has put together.
  expect(count('mm')).toBe(2);
  expect(count('bmm')).toBe(0);
  // Two pieces, and all but those and the multiplication, which is written to the vector itself.
  expect(count('place')).toBe(2 + 6);
});

const suite = torchMissing === undefined ? 'torch' : `torch (skipped: ${torchMissing})`;

describe.skipIf(torchMissing !== undefined)(suite, () => {
  const feeds: Values = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, normals(shape, name)]),
  );
  const run = async (executor: ReturnType<typeof createTorchExecutor>, graph: Graph) => {
    const executable = await executor.compile(graph);
    await executable.run(feeds);
    // Memory that was used before is not empty.
    const { out, other } = await executable.run(feeds);
    await executor.dispose();
    return [...(out!.data as Float32Array), ...(other!.data as Float32Array)];
  };

  test.each([
    // Sums of five products of numbers near 1.
    ['f32', 1e-5],
    ['f16', 0.02],
    ['bf16', 0.15],
  ] as const)(
    'all kinds of parts are where they belong in %s',
    async (compute: ComputeType, atol) => {
      const g = new GraphBuilder();
      const vector = vectorOfAll(g);
      const graph = g.build({ out: vector, other: g.square(g.sliceAxis(vector, 0, 5, 60)) });
      const expected = await run(
        createReferenceExecutor({
          parameters: noParameters,
          precision: 'f32',
        }),
        graph,
      );
      const torch = createTorchExecutor({ parameters: noParameters, device: 'cpu', compute });
      expect(await run(torch, graph)).toBeAllClose(expected, { rtol: atol, atol });
    },
  );
});

function normals(shape: Shape, key: string) {
  return f32(shape, new Rng(7, key).normals(sizeOf(shape)));
}
