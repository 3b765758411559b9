/**
 * @file Draws the demonstration data sets again: `npx tsx scripts/drawing/draw-datasets.ts [FOLDER]`.
 *
 * character, style and setting are to be trained on; held-out has unseen pictures of the same
 * concepts; prior-character has what a LoRA of any of them must not forget.
 */

import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import type { Picture } from './canvas.ts';
import { type CaptionedPicture, type Concept, concepts, drawPrior } from './concepts.ts';
import type { PictureSize } from './draw-scene.ts';

/** Names the series: change it, and other pictures are drawn. */
const trainingSeed = 20;
const heldOutSeed = 1020;
const priorSeed = 2020;

const square: PictureSize = { width: 128, height: 128 };

/** Sizes of some pictures of a data set, by their index: they make more than one bucket. */
const otherSizes: Readonly<Record<number, PictureSize>> = {
  4: { width: 160, height: 112 },
  9: { width: 112, height: 160 },
  14: { width: 160, height: 112 },
};

/** A folder of captioned pictures. */
interface Series {
  readonly folder: string;
  /** Its files are named after this and their number from 1. */
  readonly name: string;
  readonly count: number;
  draw(index: number): CaptionedPicture;
}

/** All folders, relative to the data sets' own. */
export function demonstrationSeries(): readonly Series[] {
  const training = Object.entries<Concept>(concepts).map(([kind, concept]) => ({
    folder: kind,
    name: concept.trigger.split(' ')[0]!,
    count: 16,
    draw: (index: number) => concept.draw(trainingSeed, index, otherSizes[index] ?? square),
  }));
  const heldOut = Object.entries<Concept>(concepts).map(([kind, concept]) => ({
    folder: `held-out/${kind}`,
    name: concept.trigger.split(' ')[0]!,
    count: 8,
    draw: (index: number) => concept.draw(heldOutSeed, index, square),
  }));
  const prior = {
    folder: 'prior-character',
    name: 'scene',
    count: 16,
    draw: (index: number) => drawPrior(priorSeed, index, square),
  };
  return [...training, ...heldOut, prior];
}

/** The picture as a PNG file. */
async function encodePng({ width, height, data }: Picture): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 9, adaptiveFiltering: true })
    .toBuffer();
}

async function writeWhole(path: string, content: Buffer | string): Promise<void> {
  await writeFile(`${path}.part`, content);
  await rename(`${path}.part`, path);
}

/** Draws every series into `root`. */
async function drawDatasets(root: string): Promise<void> {
  for (const { folder, name, count, draw } of demonstrationSeries()) {
    const path = join(root, folder);
    await mkdir(path, { recursive: true });
    for (let index = 0; index < count; index++) {
      const { picture, caption } = draw(index);
      const stem = join(path, `${name}-${String(index + 1).padStart(2, '0')}`);
      await writeWhole(`${stem}.png`, await encodePng(picture));
      await writeWhole(`${stem}.txt`, `${caption}\n`);
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await drawDatasets(resolve(process.argv[2] ?? 'datasets'));
}
