/** @file The grammar of scenes, its captions and its pictures. */

import { expect, test } from 'vitest';
import { drawScene, pictureSide } from '../../scripts/drawing/draw-scene.ts';
import { backgroundsFor, captionOf, type Scene, sampleScene } from '../../scripts/drawing/scene.ts';
import { Rng } from '../../src/tensor/rng.ts';

const rngs = Array.from({ length: 2000 }, (_, i) => new Rng(3, 'scene', 0, i));

test('every word of the grammar is used, and few others', () => {
  const captions = rngs.map((rng) => captionOf(sampleScene(rng), rng));
  const words = new Set(captions.flatMap((caption) => caption.split(/[ ,]+/)));
  expect(words.size).toBeLessThan(60);
  for (const word of 'red orange black ring diamond pink beige small large top centre'.split(' ')) {
    expect(words).toContain(word);
  }
  expect(captions.every((caption) => caption === caption.toLowerCase())).toBe(true);
  expect(captions.some((caption) => /\ba [aeiou]/.test(caption))).toBe(false);
});

test('a caption never contradicts its scene', () => {
  for (const rng of rngs.slice(0, 300)) {
    const scene = sampleScene(rng);
    const caption = captionOf(scene, rng);
    expect(caption).toContain(`${scene.color} ${scene.shape}`);
    if (caption.includes('background')) expect(caption).toContain(`${scene.background} background`);
    expect(/small|little/.test(caption) && scene.size === 'big').toBe(false);
    expect(/big|large/.test(caption) && scene.size === 'small').toBe(false);
  }
});

test('an object is never drawn on its own colour', () => {
  expect(backgroundsFor('white')).not.toContain('white');
  expect(backgroundsFor('black')).not.toContain('black');
  expect(backgroundsFor('red').length).toBe(8);
});

const scene: Scene = {
  shape: 'ring',
  color: 'red',
  size: 'big',
  position: 'centre',
  background: 'light blue',
};

test('the same key draws the same picture, another key another', () => {
  const draw = (seed: number) => drawScene(scene, new Rng(seed, 'draw')).data;
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
});

test('a ring has its colour around, and the background in its hole', () => {
  const { data, width, height } = drawScene(scene, new Rng(1, 'draw'));
  expect([width, height, data.length]).toEqual([pictureSide, pictureSide, pictureSide ** 2 * 3]);
  const colorAt = (x: number, y: number) => data.subarray((y * 128 + x) * 3, (y * 128 + x) * 3 + 3);
  const [red = 0, , blue = 0] = colorAt(64 + 25, 64);
  expect(red - blue).toBeGreaterThan(120);
  const [holeRed = 0, , holeBlue = 0] = colorAt(64, 64);
  expect(holeBlue - holeRed).toBeGreaterThan(40);
});

test('pictures of other sizes keep the thing whole', () => {
  const size = { width: 160, height: 112 };
  const { data } = drawScene({ ...scene, position: 'right' }, new Rng(1, 'draw'), size);
  expect(data.length).toBe(160 * 112 * 3);
  const reddest = data.filter((value, i) => i % 3 === 0 && value > data[i + 2]! + 100).length;
  expect(reddest).toBeGreaterThan(1200);
});
