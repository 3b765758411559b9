/** @file The modules that get a LoRA, against those of kohya's trainer for SD 1.5. */

import { expect, test } from 'vitest';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { readSections, sd15Sizes } from '../models/sd1/sd15-facts.ts';

const model = { family: sd1, shapes: sd1TensorShapes(sd15Sizes) };
const published = readSections('sd15-lora-modules.tsv');

function publishedIn(...sections: string[]): string[] {
  return sections
    .flatMap((section) =>
      published
        .get(section)!
        .rows.map(([name, kind, path]) =>
          [name, kind, `${section === 'text_encoder' ? section : 'unet'}.${path}`].join(' '),
        ),
    )
    .sort();
}

const listed = (options: Parameters<typeof targetModules>[1]) =>
  targetModules(model, options)
    .map(({ name, kind, path }) => `${name} ${kind} ${path}`)
    .sort();

test('the default targets are kohya’s', () => {
  expect(listed({})).toEqual(publishedIn('unet', 'text_encoder'));
  expect(listed({ textEncoder: false })).toHaveLength(192);
  expect(listed({ unet: false })).toHaveLength(72);
});

test('with convolutions they are those of its conv_dim', () => {
  const all = publishedIn('unet', 'unet_conv_extra', 'text_encoder');
  expect(listed({ convolutions: true })).toEqual(all);
  expect(all).toHaveLength(278 + 72);
  expect(listed({ unet: false, convolutions: true })).toHaveLength(72);
});

test('sizes for each rank are kohya’s', () => {
  const modules = targetModules(model, { convolutions: true });
  const plain = targetModules(model);
  expect(loraLayout('text_encoder', plain, { rank: 3 }).size).toBe(3 * 165_888);
  expect(loraLayout('unet', plain, { rank: 3 }).size).toBe(3 * 423_936);
  expect(loraLayout('unet', modules, { rank: 4, convRank: 2 }).size).toBe(
    4 * (423_936 + 82_880) + 2 * 544_000,
  );
});
