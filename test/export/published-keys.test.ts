/**
 * @file Every key and shape of the adapters that are written for SD 1.5, SD 2.1 and SDXL at full size,
 * against the modules of kohya's trainer and the shapes of the published weights.
 */

import { describe, expect, test, vi } from 'vitest';
import { writeAdapter } from '../../src/export/write-adapter.ts';
import { loraLayout } from '../../src/lora/lora-layout.ts';
import { loraModules } from '../../src/lora/lora-modules.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import { families } from '../../src/models/families.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
import { modelTensorShapes } from '../../src/models/tensor-shapes.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { publishedFile } from '../models/published-models.ts';
import { readSections, sd15Sizes } from '../models/sd1/sd15-facts.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

vi.setConfig({ testTimeout: 30_000 });

const at = temporaryFolder();

const models = {
  sd15: () => ({ family: families.sd1, shapes: modelTensorShapes(sd15Sizes) }),
  sd21: () => openCheckpoint(publishedFile('sd21').file),
  sdxl: () => openCheckpoint(publishedFile('sdxl').file),
} as const;

const [rank, convRank] = [2, 1];

const networks: Readonly<Record<string, string>> = {
  unet_conv_extra: 'unet',
  text_encoder_1: 'text_encoder',
};

/** Factors of a module by its kind and the [out, in, …] of its weight. */
function factorShapes(kind: string, shape: readonly number[]): readonly (readonly number[])[] {
  const [out = 0, into = 0] = shape;
  if (kind === 'linear') return [[rank, into], [out, rank]];
  if (kind === 'conv1x1') return [[rank, into, 1, 1], [out, rank, 1, 1]];
  return [[convRank, into, 3, 3], [out, convRank, 1, 1]];
} // biome-ignore format: a table

/** `key shape` of all tensors that kohya's trainer would write. */
function published(name: keyof typeof models): string[] {
  const weights = new Map<string, readonly number[]>();
  for (const [section, { rows }] of readSections(`${name}-weights.tsv`)) {
    for (const [path, , shape = ''] of rows) {
      weights.set(`${section}.${path}`, shape.split('x').map(Number));
    }
  }
  return [...readSections(`${name}-lora-modules.tsv`)].flatMap(([section, { rows }]) =>
    rows.flatMap(([module, kind, path]) => {
      const shape = weights.get(`${networks[section] ?? section}.${path}.weight`)!;
      const [down, up] = factorShapes(kind!, shape);
      return [`${module}.alpha `, `${module}.lora_down.weight ${down}`, `${module}.lora_up.weight ${up}`];
    }),
  ); // biome-ignore format: one line a step
}

describe.each([
  ['sd15', 3 * (192 + 72 + 86)],
  ['sd21', 3 * (192 + 138 + 86)],
  ['sdxl', 3 * (722 + 72 + 192 + 66)],
] as const)('%s', (name, count) => {
  test('keys and shapes are kohya’s, of the text encoders and with convolutions too', async () => {
    const modules = targetModules(models[name](), { convolutions: true });
    const layouts = (['unet', 'text_encoder'] as const).map((group) =>
      loraLayout(group, modules, { rank, convRank }),
    );
    const path = at(`${name}.safetensors`);
    await writeAdapter({
      path,
      modules: layouts.flatMap((layout) => loraModules(layout, new Float32Array(layout.size))),
      metadata: new Map(),
      precision: 'f16',
    });
    const file = await openSafetensors(path);
    const ours = Array.from(file.entries, ([key, { shape }]) => `${key} ${shape}`);
    const dtypes = new Set(Array.from(file.entries.values(), ({ stored }) => stored));
    file.close();
    expect(ours).toHaveLength(count);
    expect(ours.sort()).toEqual(published(name).sort());
    expect([...dtypes]).toEqual(['F16']);
  });
});
