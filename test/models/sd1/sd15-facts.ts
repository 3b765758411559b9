/** @file The facts of SD 1.5 that rules are tested against. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Sd1Sizes } from '../../../src/models/sd1/sizes.ts';
import type { Shape } from '../../../src/tensor/shape.ts';

const fixtures = join(import.meta.dirname, '../../fixtures');

/** Rows of a fixture by section, with the text after the section's name. */
export function readSections(file: string) {
  const sections = new Map<string, { readonly prefix: string; readonly rows: string[][] }>();
  let rows: string[][] = [];
  for (const line of readFileSync(join(fixtures, file), 'utf8').trim().split('\n')) {
    if (line.startsWith('#')) continue;
    const heading = /^\[(\w+)\] ?(.*)$/.exec(line);
    if (heading) {
      rows = [];
      sections.set(heading[1]!, { prefix: heading[2]!, rows });
    } else rows.push(line.split('\t'));
  }
  return sections;
}

export interface Sd15Weight {
  /** Ours, such as `unet.conv_in.weight`. */
  readonly name: string;
  readonly key: string;
  readonly shape: Shape;
}

export function sd15Weights(): Sd15Weight[] {
  return [...readSections('sd15-weights.tsv')].flatMap(([network, { prefix, rows }]) =>
    rows.map(([path, key, shape]) => ({
      name: `${network}.${path}`,
      key: `${prefix}${key}`,
      shape: shape!.split('x').map(Number),
    })),
  );
}

export const sd15Sizes: Sd1Sizes = {
  unet: {
    inChannels: 4,
    outChannels: 4,
    channels: [320, 640, 1280, 1280],
    layersPerBlock: 2,
    attention: [true, true, true, false],
    contextChannels: 768,
  },
  text: { vocabulary: 49408, positions: 77, hidden: 768, inner: 3072, layers: 12 },
  vae: { imageChannels: 3, latentChannels: 4, channels: [128, 256, 512, 512], layersPerBlock: 2 },
};

/** The same family in other proportions: other counts of levels, layers and attention. */
export const tinySizes: Sd1Sizes = {
  unet: {
    inChannels: 4,
    outChannels: 4,
    channels: [32, 64, 32],
    layersPerBlock: 1,
    attention: [false, true, false],
    contextChannels: 24,
  },
  text: { vocabulary: 50, positions: 7, hidden: 24, inner: 40, layers: 3 },
  vae: { imageChannels: 3, latentChannels: 4, channels: [32, 64], layersPerBlock: 1 },
};
