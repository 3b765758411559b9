/** @file The modules that get a LoRA, against those of kohya's trainer for the published models. */

import { describe, expect, test } from 'vitest';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { downShape, targetModules, upShape } from '../../src/lora/target-modules.ts';
import { sd1 } from '../../src/models/sd1/family.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
import { modelTensorShapes } from '../../src/models/tensor-shapes.ts';
import { publishedFile } from '../models/published-models.ts';
import { readSections, sd15Sizes } from '../models/sd1/sd15-facts.ts';

const models = {
  sd15: {
    model: { family: sd1, shapes: modelTensorShapes(sd15Sizes) },
    counts: { unet: 192, text: 72, convolutions: 86 },
    perRank: { unet: 423_936, text: 165_888, plain: 82_880, kernels: 544_000 },
  },
  sd21: {
    model: openCheckpoint(publishedFile('sd21').file),
    counts: { unet: 192, text: 138, convolutions: 86 },
    perRank: { unet: 432_128, text: 423_936, plain: 82_880, kernels: 544_000 },
  },
  sdxl: {
    model: openCheckpoint(publishedFile('sdxl').file),
    counts: { unet: 722, text: 72 + 192, convolutions: 66 },
    perRank: { unet: 2_659_840, text: 165_888 + 737_280, plain: 58_560, kernels: 355_840 },
  },
} as const;

const networkOf: Readonly<Record<string, string>> = {
  unet_conv_extra: 'unet',
  text_encoder_1: 'text_encoder',
};

describe.each(Object.keys(models) as (keyof typeof models)[])('%s', (name) => {
  const { model, counts, perRank } = models[name];
  const published = readSections(`${name}-lora-modules.tsv`);

  const publishedIn = (wanted: RegExp): string[] =>
    [...published]
      .filter(([section]) => wanted.test(section))
      .flatMap(([section, { rows }]) =>
        rows.map(([module, kind, path]) =>
          [module, kind, `${networkOf[section] ?? section}.${path}`].join(' '),
        ),
      )
      .sort();

  const listed = (options: Parameters<typeof targetModules>[1]) =>
    targetModules(model, options)
      .map((module) => `${module.name} ${module.kind} ${module.path}`)
      .sort();

  test('the default targets are kohya’s', () => {
    expect(listed({})).toEqual(publishedIn(/^(unet|text_encoder(_\d)?)$/));
    expect(listed({ textEncoder: false })).toHaveLength(counts.unet);
    expect(listed({ unet: false })).toHaveLength(counts.text);
  });

  test('with convolutions they are those of its conv_dim', () => {
    expect(listed({ convolutions: true })).toEqual(publishedIn(/./));
    expect(listed({ textEncoder: false, convolutions: true })).toHaveLength(
      counts.unet + counts.convolutions,
    );
    expect(listed({ unet: false, convolutions: true })).toHaveLength(counts.text);
  });

  test('sizes for each rank are kohya’s', () => {
    const modules = targetModules(model, { convolutions: true });
    const plain = targetModules(model);
    expect(loraLayout('text_encoder', plain, { rank: 3 }).size).toBe(3 * perRank.text);
    expect(loraLayout('unet', plain, { rank: 3 }).size).toBe(3 * perRank.unet);
    expect(loraLayout('unet', modules, { rank: 4, convRank: 2 }).size).toBe(
      4 * (perRank.unet + perRank.plain) + 2 * perRank.kernels,
    );
  });
});

test('projections are 1x1 convolutions in SD 1.x, matrices in SD 2.x and SDXL', () => {
  const shapesOf = (name: keyof typeof models, module: string) => {
    const found = targetModules(models[name].model).find((one) => one.name === module)!;
    return [downShape(found, 4), upShape(found, 4)];
  };
  const projection = 'lora_unet_mid_block_attentions_0_proj_in';
  expect(shapesOf('sd15', projection)).toEqual([
    [4, 1280, 1, 1],
    [1280, 4, 1, 1],
  ]);
  expect(shapesOf('sd21', projection)).toEqual([
    [4, 1280],
    [1280, 4],
  ]);
  expect(shapesOf('sdxl', 'lora_unet_middle_block_1_proj_in')).toEqual([
    [4, 1280],
    [1280, 4],
  ]);
});
