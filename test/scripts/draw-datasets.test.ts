/** @file The data sets in the repository are those that the script draws. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { concepts } from '../../scripts/drawing/concepts.ts';
import { demonstrationSeries } from '../../scripts/drawing/draw-datasets.ts';

const root = resolve(import.meta.dirname, '../../datasets');

describe.each(demonstrationSeries())('$folder', ({ folder, name, count, draw }) => {
  const path = join(root, folder);

  test('has its pictures and captions, and nothing else', () => {
    const stems = Array.from(
      { length: count },
      (_, i) => `${name}-${String(i + 1).padStart(2, '0')}`,
    );
    const files = stems.flatMap((stem) => [`${stem}.png`, `${stem}.txt`]);
    expect(readdirSync(path).sort()).toEqual(files);
    const captions = stems.map((stem) => readFileSync(join(path, `${stem}.txt`), 'utf8').trim());
    expect(captions).toEqual(stems.map((_, index) => draw(index).caption));
    const kind = folder.split('/').at(-1) as keyof typeof concepts;
    const trigger = concepts[kind]?.trigger ?? '';
    expect(captions.filter((caption) => !caption.includes(trigger))).toEqual([]);
    expect(new Set(captions).size).toBeGreaterThan(count - 3);
  });

  test('its pictures are as drawn', async () => {
    for (const index of [0, 4]) {
      const file = join(path, `${name}-0${index + 1}.png`);
      const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
      const { picture } = draw(index);
      expect([info.width, info.height, info.channels]).toEqual([picture.width, picture.height, 3]);
      // Sines may differ in their last bit between machines.
      expect(data.every((value, i) => Math.abs(value - picture.data[i]!) <= 1)).toBe(true);
    }
  });
});

test('no held-out picture is trained on', () => {
  const files = (folder: string) =>
    readdirSync(join(root, folder))
      .filter((file) => file.endsWith('.png'))
      .map((file) => readFileSync(join(root, folder, file)).toString('base64'));
  for (const kind of Object.keys(concepts)) {
    const trained = new Set(files(kind));
    expect(files(`held-out/${kind}`).some((picture) => trained.has(picture))).toBe(false);
  }
});
