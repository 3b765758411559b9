/** @file ONNX Runtime's arena: what is resident after buffers come and go. */

import { expect, test } from 'vitest';
import { Arena } from '../../../../src/runtime/onnx/memory/arena.ts';

const MiB = 2 ** 20;

test('what is free is used again, and only what is written is resident', () => {
  const arena = new Arena();
  const first = arena.allocate(3 * MiB);
  expect(arena.resident).toBe(3 * MiB);
  arena.free(first);
  arena.allocate(2 * MiB);
  expect(arena.resident).toBe(3 * MiB);
});

test('free neighbours become one chunk', () => {
  const arena = new Arena();
  const parts = [1, 1, 1, 1].map((size) => arena.allocate(size * MiB));
  const { resident } = arena;
  for (const part of parts) arena.free(part);
  // Regions of 1, 2 and 4 MiB: the second is whole again.
  arena.allocate(2 * MiB);
  expect([resident, arena.resident]).toEqual([4 * MiB, 4 * MiB]);
});

test('the smallest chunk that fits is taken, and split where half of it would be left', () => {
  const arena = new Arena();
  const large = arena.allocate(8 * MiB);
  const small = arena.allocate(2 * MiB);
  arena.free(large);
  arena.free(small);
  const { resident } = arena;
  arena.allocate(8 * MiB);
  arena.allocate(2 * MiB);
  expect(arena.resident).toBe(resident);
  // Nothing free is left that was written.
  arena.allocate(MiB);
  expect(arena.resident).toBe(resident + MiB);
});
