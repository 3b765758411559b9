/** @file What a run's files and metadata say of it, and what makes it another run. */

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { sizeConfig } from '../../src/config/size-config.ts';
import { initLora } from '../../src/lora/init-lora.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import type { BaseSettings } from '../../src/train/base-settings.ts';
import { describeRun, runDate } from '../../src/train/describe-run.ts';
import type { Base } from '../../src/train/open-base.ts';
import type { Dataset, TrainSample } from '../../src/train/read-dataset.ts';
import { runFingerprint } from '../../src/train/run-fingerprint.ts';
import { RunFolder } from '../../src/train/run-folder.ts';
import { planRun } from '../../src/train/run-plan.ts';
import { tinyConfig } from '../cli/tiny-run.ts';
import { tinyExecutor, tinyLayouts, tinyModel } from './tiny-training.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sdl-train-facts-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const configOf = (...overrides: string[]) =>
  sizeConfig(
    loadConfig({ path: 'run.yaml', text: tinyConfig(dir), overrides, cwd: dir }).config,
    null,
  );

const base: Base = {
  checkpoint: {
    family: tinyModel.family,
    sizes: undefined as never,
    shapes: tinyModel.shapes,
    hints: { prediction: null, zeroTerminalSnr: null, clipSkip: null, resolution: null },
    places: new Map(),
    unknownKeys: [],
    read: () => new Float32Array(),
    half: () => undefined,
  },
  file: { name: 'base.safetensors', legacyHash: '12345678', sha256: 'ab' },
  vaeFile: null,
  vaeKey: 'vae',
  textKey: 'text',
  close: () => {},
};

const settings: BaseSettings = {
  predictionType: 'epsilon',
  predictionFrom: 'a test',
  zeroTerminalSnr: false,
  clipSkip: 1,
  resolution: null,
  warnings: [],
};

function sample(name: string, changes: Partial<TrainSample> = {}): TrainSample {
  const bucket = { width: 64, height: 64 };
  return {
    path: join(dir, 'images', name),
    folder: join(dir, 'images'),
    repeats: 2,
    prior: false,
    caption: `zibbo, ${name}`,
    captionPath: null,
    triggerWord: 'zibbo',
    header: { width: 96, height: 64, hasAlpha: false, format: 'png', colourSpace: 'srgb' },
    fit: undefined as never,
    contentHash: name,
    bucket,
    ...changes,
  };
}

const samples = [
  sample('a.png'),
  sample('b.png', { bucket: { width: 96, height: 64 } }),
  sample('c.png', { folder: join(dir, 'scenes'), prior: true, repeats: 1, triggerWord: null }),
];
const dataset: Dataset = { samples, warnings: [] };

const planOf = (config: ReturnType<typeof configOf>) =>
  planRun(samples, { ...config.train, flip: config.data.flip });

function fingerprint(overrides: string[] = [], data = dataset, from = base) {
  const config = configOf(...overrides);
  return runFingerprint(config, from, data, planOf(config), settings);
}

/** Names of what differs from the run as it is. */
function differing(other: ReturnType<typeof fingerprint>): string[] {
  const own = fingerprint();
  return Object.keys({ ...own, ...other }).filter((key) => own[key] !== other[key]);
}

test('what changes the result makes another run, by its name in the configuration', () => {
  expect(differing(fingerprint(['train.seed=9']))).toEqual(['seed']);
  expect(differing(fingerprint(['lora.rank=4', 'lora.alpha=2']))).toEqual(['rank']);
  expect(differing(fingerprint(['data.captionDropout=0.5']))).toEqual(['captionDropout']);
  expect(differing(fingerprint(['train.steps=9']))).toEqual(['steps']);
  expect(differing(fingerprint(['device.executor=reference']))).toEqual([]);
  const file = { ...base.file, sha256: 'cd' };
  expect(differing(fingerprint([], dataset, { ...base, file }))).toEqual(['base']);
  for (const change of [{ caption: 'x' }, { contentHash: 'x' }, { repeats: 5 }, { prior: true }]) {
    const changed = { samples: [sample('a.png', change), ...samples.slice(1)], warnings: [] };
    expect(differing(fingerprint([], changed))).toContain('images');
  }
});

test('what does not change the result leaves it the same run', () => {
  const moved = samples.map((each) => ({
    ...each,
    path: '/b.png',
    folder: '/',
    captionPath: '/c',
  }));
  expect(differing(fingerprint([], { samples: moved, warnings: ['w'] }))).toEqual([]);
  const settings = ['output.saveEverySteps=1', 'device.threads=2', `data.cacheDir=${dir}/cache`];
  expect(differing(fingerprint(settings))).toEqual([]);
});

test('a run is dated by its day, or by SOURCE_DATE_EPOCH', () => {
  expect(runDate(Date.UTC(2026, 0, 2, 23, 59), undefined)).toBe(Date.UTC(2026, 0, 2) / 1000);
  expect(runDate(0, '1700000001')).toBe(1_700_000_001);
  expect(runDate(86_400_000, 'yesterday')).toBe(86_400);
});

test('web UIs read the type that was computed in', () => {
  const config = configOf();
  const about = { base, dataset, plan: planOf(config), settings };
  const run = (precision?: 'bf16' | 'f16') =>
    describeRun(config, about, { startedAt: 86_400, sessionId: 5, precision }).mixedPrecision;
  expect([run(), run('bf16'), run('f16')]).toEqual(['no', 'bf16', 'fp16']);
});

function describeConfig(...overrides: string[]) {
  return describeDataset(dataset, ...overrides);
}

function describeDataset(of: Dataset, ...overrides: string[]) {
  const config = configOf(...overrides);
  const about = { base, dataset: of, plan: planOf(config), settings };
  return describeRun(config, about, { startedAt: 86_400, sessionId: 5 });
}

test('tags are counted without the weights that captions give them', () => {
  const of = { samples: [sample('a.png', { caption: '(Red hat, sun:1.3), [dog]' })], warnings: [] };
  const tagsOf = (...overrides: string[]) => [
    ...describeDataset(of, ...overrides).dataset.folders[0]!.tags.keys(),
  ];
  expect(tagsOf('data.emphasis=true')).toEqual(['red hat', 'sun', 'dog']);
  expect(tagsOf()).toEqual(['(red hat', 'sun:1.3)', '[dog]']);
});

test('the description has the run in the words of its configuration', () => {
  const run = describeConfig('train.minSnrGamma=5', 'lora.textEncoder=false');
  expect(run).toMatchObject({
    outputName: 'zibbo',
    rank: 2,
    alpha: 2,
    maxSteps: 2,
    minSnrGamma: 5,
    noiseOffset: null,
    maxTokenLength: 225,
    unetLearningRate: 1e-4,
    textEncoderLearningRate: null,
    baseModel: base.file,
    triggerPhrase: 'zibbo',
    startedAt: 86_400,
    sessionId: 5,
  });
  expect(run.debiasedEstimation).toBe(false);
  expect(describeConfig('train.debiasedEstimation=true').debiasedEstimation).toBe(true);
  const { folders, buckets, meanAspectError } = run.dataset;
  expect(folders.map(({ tags: _tags, ...folder }) => folder)).toEqual([
    { name: 'images', repeats: 2, images: 2, regularization: false },
    { name: 'scenes', repeats: 1, images: 1, regularization: true },
  ]);
  expect(folders[0]!.tags.get('zibbo')).toBe(2);
  expect(buckets).toEqual([
    { width: 64, height: 64, count: 3 },
    { width: 96, height: 64, count: 2 },
  ]);
  expect(meanAspectError).toBeCloseTo((0.5 + 0 + 0.5) / 3, 12);
});

test('adapters of the way come every so many steps or epochs', () => {
  const config = configOf('train.steps=12');
  const plan = planOf(config);
  const due = (saveEverySteps: number | null, saveEveryEpochs: number | null) => {
    const settings = { ...config.output, saveEverySteps, saveEveryEpochs };
    const folder = new RunFolder(settings, {});
    const steps = Array.from({ length: 12 }, (_, i) => i + 1);
    return steps.filter((step) => folder.saveDue(settings, plan, step) !== null);
  };
  expect(due(5, null)).toEqual([5, 10]);
  const length = plan.batchesPerEpoch;
  expect(due(null, 1)).toEqual([1, 2, 3, 4, 5].map((n) => n * length).filter((n) => n <= 12));
  expect(due(null, null)).toEqual([]);
});

test('only the last ones are kept, also of those saved before an interruption', async () => {
  const out = join(dir, 'kept');
  const settings = { ...configOf().output, dir: out, keepLast: 2 };
  const executor = tinyExecutor();
  const layouts = tinyLayouts({ unet: false, textEncoder: true });
  for (const layout of layouts) {
    executor.writeVariable(layout.variable, f32([layout.size], initLora(layout, 1)));
  }
  const folder = new RunFolder(settings, {});
  const saved: string[] = [];
  const adapters = () => readdirSync(out).filter((name) => name.endsWith('.safetensors'));
  const save = (name: string, into = folder, card = false) =>
    into.saveAdapter(
      {
        path: join(out, `${name}.safetensors`),
        executor,
        layouts,
        precision: 'f16',
        format: 'kohya',
        run: describeConfig(),
        savePoint: { steps: 1, epoch: 1, finishedAt: 0 },
        card,
      },
      saved,
    );
  for (const name of ['a', 'b', 'b', 'c']) await save(name);
  expect(adapters()).toEqual(['b.safetensors', 'c.safetensors']);
  await save('d', new RunFolder(settings, {}));
  await save('final', folder, true);
  expect(adapters()).toEqual(['c.safetensors', 'd.safetensors', 'final.safetensors']);
  expect(saved).toEqual(['c.safetensors', 'd.safetensors']);
  expect([existsSync(join(out, 'final.json')), existsSync(join(out, 'd.json'))]).toEqual([
    true,
    false,
  ]);
});
