/** @file Shapes: sizes, strides, broadcasting, and tensors that must fit them. */

import { expect, test } from 'vitest';
import { broadcastShapes, sameShape, sizeOf, stridesOf } from '../../src/tensor/shape.ts';
import { f32, i32 } from '../../src/tensor/tensor.ts';

test('sizes and strides', () => {
  expect([sizeOf([]), sizeOf([2, 3, 4]), sizeOf([2, 0])]).toEqual([1, 24, 0]);
  expect([stridesOf([]), stridesOf([2, 3, 4])]).toEqual([[], [12, 4, 1]]);
  expect([sameShape([2], [2]), sameShape([2], [2, 1]), sameShape([2], [3])]).toEqual([
    true,
    false,
    false,
  ]);
});

test.each([
  [[2, 3], [3], [2, 3]],
  [[2, 1], [3], [2, 3]],
  [[], [4], [4]],
  [[1], [0], [0]],
  [[2], [3], null],
  [[2, 3], [2], null],
])('[%j] with [%j]: %j', (a, b, expected) => {
  expect(broadcastShapes(a, b)).toEqual(expected);
  expect(broadcastShapes(b, a)).toEqual(expected);
});

test('tensors hold as many values as their shape', () => {
  expect(f32([2, 2]).data).toEqual(new Float32Array(4));
  expect(f32([2], [1.5, 2]).data).toEqual(Float32Array.of(1.5, 2));
  const data = new Float32Array(3);
  expect(f32([3], data).data).toBe(data);
  expect(() => f32([2], [1])).toThrow('internal: 1 values for a tensor of shape [2]');
  expect(() => i32([2], [1, 2, 3])).toThrow('internal: 3 values for a tensor of shape [2]');
});
