/** @file What each operation refuses, and the sizes of convolutions. */

import { expect, test } from 'vitest';
import { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { convSize } from '../../src/graph/shape-rules.ts';

type Build = (g: GraphBuilder, x: (...shape: number[]) => Node) => Node;

const conv = { stride: 1, pads: [0, 0, 0, 0] } as const;
const heads = { heads: 2, scale: 1, causal: false };

const refused: readonly (readonly [string, RegExp, Build])[] = [
  ['add of other sizes', /f32\[2,3\] and f32\[2,2\]/, (g, x) => g.add(x(2, 3), x(2, 2))],
  ['add of other dtypes', /i32/, (g, x) => g.add(x(2), g.input('ids', [2], 'i32'))],
  ['exp of whole numbers', /float operation on i32/, (g) => g.exp(g.input('ids', [2], 'i32'))],
  ['siluGrad, broadcast', /same shape/, (g, x) => g.emit('siluGrad', [x(2, 3), x(3)], {})],
  ['matmul of other inner sizes', /inner sizes differ/, (g, x) => g.matmul(x(2, 3), x(4, 5))],
  ['matmul of other batches', /batches differ/, (g, x) => g.matmul(x(2, 2, 3), x(3, 3, 5))],
  ['matmul of other ranks', /matmul/, (g, x) => g.matmul(x(2, 2, 3), x(3, 5))],
  ['linear of another width', /linear of f32\[2,3\]/, (g, x) => g.linear(x(2, 3), x(5, 4))],
  ['linear by a kernel', /linear of/, (g, x) => g.linear(x(2, 3), x(5, 3, 1, 1))],
  ['linear with a long bias', /bias f32\[4\]/, (g, x) => g.linear(x(2, 3), x(5, 3), x(4))],
  ['conv2d of other channels', /weight/, (g, x) => g.conv2d(x(1, 3, 4, 4), x(2, 4, 3, 3))],
  ['conv2d of a matrix', /conv2d of f32\[3,4\]/, (g, x) => g.conv2d(x(3, 4), x(2, 3, 1, 1))],
  ['conv2d of a small image', /larger weight/, (g, x) => g.conv2d(x(1, 1, 2, 2), x(1, 1, 3, 3))],
  [
    'conv2d with a bias per pixel',
    /bias/,
    (g, x) => g.conv2d(x(1, 1, 2, 2), x(3, 1, 1, 1), x(3, 1, 1)),
  ],
  [
    'conv2dInputGrad of another cotangent',
    /convolution to \[1,2,3,3\]/,
    (g, x) =>
      g.emit('conv2dInputGrad', [x(1, 2, 4, 4), x(2, 3, 3, 3)], { ...conv, height: 5, width: 5 }),
  ],
  [
    'conv2dWeightGrad of another cotangent',
    /convolution to \[1,2,3,3\]/,
    (g, x) =>
      g.emit('conv2dWeightGrad', [x(1, 3, 5, 5), x(1, 2, 4, 3)], { ...conv, kernel: [3, 3] }),
  ],
  [
    'attention of other channels',
    /attention/,
    (g, x) => g.attention(x(1, 2, 4), x(1, 3, 6), x(1, 3, 6), heads),
  ],
  [
    'attention to another batch',
    /attention/,
    (g, x) => g.attention(x(2, 2, 4), x(1, 3, 4), x(1, 3, 4), heads),
  ],
  [
    'attention with fewer values than keys',
    /values/,
    (g, x) => g.attention(x(1, 2, 4), x(1, 3, 4), x(1, 2, 4), heads),
  ],
  [
    'attention with heads that do not divide',
    /2 heads/,
    (g, x) => g.attention(x(1, 2, 5), x(1, 3, 5), x(1, 3, 5), heads),
  ],
  [
    'attentionGrad of another cotangent',
    /cotangent/,
    (g, x) => {
      const [q, k] = [x(1, 2, 4), x(1, 3, 4)];
      return g.emit('attentionGrad', [q, k, k, q, k], { ...heads, wrt: 'q' });
    },
  ],
  [
    'groupNorm with groups that do not divide',
    /4 groups/,
    (g, x) => g.groupNorm(x(1, 6, 2, 2), x(6), x(6), 4, 1e-5),
  ],
  [
    'groupNorm with a scale per group',
    /norm of/,
    (g, x) => g.groupNorm(x(1, 6, 2, 2), x(2), x(6), 2, 1e-5),
  ],
  ['layerNorm with a short bias', /norm of/, (g, x) => g.layerNorm(x(2, 6), x(6), x(5), 1e-5)],
  ['reshape to another size', /reshape of f32\[2,3\] to \[5\]/, (g, x) => g.reshape(x(2, 3), [5])],
  ['transpose by no permutation', /\[0,0\]/, (g, x) => g.transpose(x(2, 3), [0, 0])],
  ['concat of other sizes', /along 0/, (g, x) => g.concat([x(2, 3), x(2, 4)], 0)],
  ['concat of other dtypes', /i32/, (g, x) => g.concat([x(2), g.input('ids', [2], 'i32')], 0)],
  ['concat of nothing', /concat of nothing/, (g) => g.concat([], 0)],
  ['slice past the end', /slice of/, (g, x) => g.sliceAxis(x(2, 3), 1, 1, 4)],
  ['slice of one axis', /slice of/, (g, x) => g.emit('slice', [x(2)], { starts: [0], ends: [] })],
  ['pad by less than nothing', /pad of/, (g, x) => g.pad(x(2, 3), [0, -1], [0, 0])],
  ['expand of a size that is not 1', /expand of/, (g, x) => g.expand(x(2), [2, 3])],
  ['expand to less', /expand of/, (g, x) => g.expand(x(2, 3), [3])],
  ['sum over a missing axis', /over \[2\]/, (g, x) => g.sum(x(2, 3), [2])],
  ['upsampleNearest of a matrix', /upsampleNearest/, (g, x) => g.upsampleNearest(x(2, 3), 4, 6)],
  ['gather by floats', /f32\[2\]/, (g, x) => g.gather(x(4, 3), x(2))],
  [
    'gatherGrad of other rows',
    /cotangent/,
    (g, x) => g.emit('gatherGrad', [g.input('ids', [2], 'i32'), x(3, 5)], { rows: 4 }),
  ],
];

test.each(refused)('refuses %s', (_, message, build) => {
  const g = new GraphBuilder();
  let count = 0;
  const x = (...shape: number[]) => g.input(`x${count++}`, shape);
  expect(() => build(g, x)).toThrow(message);
  expect(() => build(g, x)).toThrow(/^internal: /);
});

test.each([
  [64, 3, 1, 2, 64],
  [64, 3, 2, 2, 32],
  [9, 3, 2, 2, 5],
  [8, 3, 2, 1, 4],
  [8, 4, 4, 0, 2],
])('%i pixels, kernel %i, stride %i, padding %i: %i', (size, kernel, stride, padding, out) => {
  expect(convSize(size, kernel, stride, padding)).toBe(out);
});
