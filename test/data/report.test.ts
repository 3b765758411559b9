/** @file The facts that `check` prints, from a small data set with all sorts of faults. */

import { copyFile, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { prepareSamples } from '../../src/data/prepare-samples.ts';
import { type ReportOptions, reportDataset } from '../../src/data/report.ts';
import { scanFolders } from '../../src/data/scan-folder.ts';
import { flat, noise, temporaryFolder } from './pictures.ts';

async function dataset(): Promise<{ root: string; options: ReportOptions }> {
  const root = await temporaryFolder();
  const set = join(root, '3_cat');
  const prior = join(root, 'prior');
  await mkdir(set);
  await mkdir(prior);
  const image = async (name: string, width: number, height: number, colour: string) => {
    await flat(width, height, colour)
      .png()
      .toFile(join(set, `${name}.png`));
    await writeFile(join(set, `${name}.txt`), `a ${name}`);
  };
  await image('square', 200, 200, '#111111');
  await image('wide', 300, 90, '#222222');
  await image('small', 50, 50, '#333333');
  await copyFile(join(set, 'square.png'), join(set, 'twin.png'));
  await writeFile(join(set, 'twin.txt'), 'a twin');
  await flat(128, 128, '#444444').png().toFile(join(prior, 'p.png'));
  await writeFile(join(prior, 'p.txt'), 'a cat');
  return {
    root,
    options: {
      folders: [{ path: set }, { path: prior, prior: true }],
      scan: { captionExtensions: ['.txt'], triggerWord: 'zxc' },
      buckets: { resolution: 128, enabled: true, step: 32, minSide: 64, upscale: true },
      batchSize: 4,
      seed: 1,
    },
  };
}

test('counts, buckets, crop loss, enlargement and duplicates', async () => {
  const { root, options } = await dataset();
  const report = await reportDataset(options);
  const base = (path: string) => path.slice(root.length + 1);
  expect(report.problems).toEqual([]);
  expect(report.warnings).toEqual([]);
  expect(report).toMatchObject({ images: 4, priorImages: 1, visits: 12, stepsPerEpoch: 7 });
  // 9 square visits and 12 prior ones make 6 batches of 4, the last with 1; 3 wide ones make one of 3.
  expect(report.buckets).toEqual([
    { bucket: { width: 128, height: 128 }, images: 4, visits: 21, batches: 6, incomplete: 1 },
    { bucket: { width: 224, height: 64 }, images: 1, visits: 3, batches: 1, incomplete: 3 },
  ]);
  const [worst] = report.imageUses;
  expect(worst).toMatchObject({
    path: join(root, '3_cat/wide.png'),
    size: { width: 300, height: 90 },
  });
  expect(worst?.cropLoss).toBeCloseTo(1 - 64 / (90 * (224 / 300)), 6);
  expect(report.meanCropLoss).toBeCloseTo((worst?.cropLoss ?? 0) / 5, 9);
  expect(report.enlarged.map(({ path, scale }) => [base(path), scale])).toEqual([
    [join('3_cat', 'small.png'), 2.56],
  ]);
  expect(report.duplicates.map((same) => same.map(base))).toEqual([
    [join('3_cat', 'square.png'), join('3_cat', 'twin.png')],
  ]);
  expect(report.samples.map(({ caption }) => caption)).toContain('a twin');
});

test('broken pictures and missing captions are problems, the rest is still counted', async () => {
  const { root, options } = await dataset();
  const whole = await noise(100, 100).jpeg().toBuffer();
  await writeFile(join(root, '3_cat/cut.jpg'), whole.subarray(0, whole.length - 500));
  await writeFile(join(root, '3_cat/cut.txt'), 'cut');
  await writeFile(join(root, '3_cat/page.png'), '<html>');
  await writeFile(join(root, '3_cat/page.txt'), 'page');
  await flat(64, 64).png().toFile(join(root, '3_cat/bare.png'));
  const report = await reportDataset(options);
  expect(report.images).toBe(4);
  expect(report.problems).toEqual([
    expect.stringMatching(/bare\.png: no caption/),
    expect.stringMatching(/page\.png: .*no picture/),
    expect.stringMatching(/cut\.jpg: .*cut short/),
  ]);
});

test('with nothing fit to train, reports the problem', async () => {
  const { options } = await dataset();
  const report = await reportDataset({ ...options, folders: [{ path: '/no/such/folder' }] });
  expect(report).toMatchObject({ images: 0, stepsPerEpoch: 0, buckets: [], meanCropLoss: 0 });
  expect(report.problems).toEqual([
    '/no/such/folder: no such folder; check `data.folders` in the configuration',
  ]);
});

test('a folder named for 0 repeats is a problem, not a crash', async () => {
  const { root, options } = await dataset();
  const zero = join(root, '0_cat');
  await rename(join(root, '3_cat'), zero);
  const report = await reportDataset({ ...options, folders: [{ path: zero }] });
  expect(report.problems).toEqual([expect.stringMatching(/0_cat: its name asks for 0 repeats/)]);
});

test('images that may not be enlarged and are too small are named', async () => {
  const { options } = await dataset();
  const { samples } = await scanFolders(options.folders, options.scan);
  const { prepared, problems } = await prepareSamples(samples, {
    ...options.buckets,
    upscale: false,
  });
  expect(problems).toEqual([expect.stringMatching(/small\.png: 50×50 pixels .*64/)]);
  expect(prepared.map(({ contentHash }) => contentHash.length)).toEqual([64, 64, 64, 64]);
  expect(new Set(prepared.map(({ contentHash }) => contentHash)).size).toBe(3);
});
