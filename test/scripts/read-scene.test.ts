/** @file The judge reads what was drawn, also through blur and noise. */

import { expect, test } from 'vitest';
import { createPicture, type Picture } from '../../scripts/drawing/canvas.ts';
import { drawScene } from '../../scripts/drawing/draw-scene.ts';
import { readScene } from '../../scripts/drawing/read-scene.ts';
import { sampleScene } from '../../scripts/drawing/scene.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { degrade } from './degrade.ts';

/** Scenes of `count` that the judge reads wrongly once `change` was done to their pictures. */
function misread(count: number, change: (picture: Picture, rng: Rng) => Picture) {
  return Array.from({ length: count }, (_, i) => {
    const rng = new Rng(11, 'judge', 0, i);
    const { background, ...object } = sampleScene(rng);
    const reading = readScene(change(drawScene({ background, ...object }, rng), rng));
    const { fit = 0, ...read } = reading.object ?? {};
    const right =
      reading.background === background &&
      fit > 0.8 &&
      JSON.stringify(sorted(read)) === JSON.stringify(sorted(object));
    return right ? [] : [{ background, object, reading }];
  }).flat();
}

function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort());
}

test('clean drawings', () => {
  expect(misread(80, (picture) => picture)).toEqual([]);
});

test('blurred and noisy drawings', () => {
  const wrong = misread(50, (picture, rng) => degrade(picture, 12, rng));
  expect(wrong.length).toBeLessThanOrEqual(1);
});

test('an empty picture has no object', () => {
  const empty = createPicture(128, 128, (_, y) => [166, 212, 240 + y / 32]);
  expect(readScene(empty)).toEqual({ background: 'light blue', object: null });
});

test('a stray dot is not the object', () => {
  const rng = new Rng(5, 'dot');
  const scene = {
    shape: 'heart',
    color: 'purple',
    size: 'small',
    position: 'left',
    background: 'white',
  } as const;
  const { width, height, data } = drawScene(scene, rng);
  for (let i = 0; i < 9; i++) data.fill(0, ((20 + i) * 128 + 100) * 3, ((20 + i) * 128 + 109) * 3);
  expect(readScene({ width, height, data }).object).toMatchObject({
    shape: 'heart',
    color: 'purple',
    position: 'left',
  });
});
