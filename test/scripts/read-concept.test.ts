/** @file The judges of the concepts tell their pictures from all others. */

import { describe, expect, test } from 'vitest';
import type { Picture } from '../../scripts/drawing/canvas.ts';
import { concepts } from '../../scripts/drawing/concepts.ts';
import { drawScene } from '../../scripts/drawing/draw-scene.ts';
import { conceptPresent } from '../../scripts/drawing/read-concept.ts';
import { sampleScene } from '../../scripts/drawing/scene.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { degrade } from './degrade.ts';

const size = { width: 128, height: 128 };
const count = 24;
const kinds = Object.keys(concepts) as (keyof typeof concepts)[];

const picturesOf = (kind: keyof typeof concepts) =>
  Array.from({ length: count }, (_, i) => concepts[kind].draw(90, i, size).picture);
const plain = Array.from({ length: count }, (_, i) => {
  const rng = new Rng(91, 'plain', 0, i);
  return drawScene(sampleScene(rng), rng);
});
const drawn = { ...Object.fromEntries(kinds.map((kind) => [kind, picturesOf(kind)])), plain };

describe.each(kinds)('%s', (kind) => {
  const scores = (pictures: readonly Picture[]) => pictures.map((p) => concepts[kind].read(p));

  test.each(Object.entries(drawn))('on pictures of %s', (other, pictures) => {
    if (other === kind)
      expect(Math.min(...scores(pictures))).toBeGreaterThan(conceptPresent + 0.05);
    else expect(Math.max(...scores(pictures))).toBeLessThan(conceptPresent - 0.1);
  });

  test('through blur and noise', () => {
    const noisy = picturesOf(kind).map((p, i) => degrade(p, 12, new Rng(92, 'noise', 0, i)));
    const seen = scores(noisy).filter((score) => score > conceptPresent).length;
    expect(seen).toBeGreaterThanOrEqual(count - 1);
  });
});
