/** @file What is found out about a base, and what a configuration may say against it. */

import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Checkpoint } from '../../src/models/checkpoint.ts';
import { createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { families } from '../../src/models/families.ts';
import type { FamilyId, Prediction } from '../../src/models/model-family.ts';
import { modelHints } from '../../src/models/model-hints.ts';
import { openCheckpoint } from '../../src/models/single-file.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import {
  baseSettings,
  foreseeSettings,
  type WantedSettings,
} from '../../src/train/base-settings.ts';
import { FrozenTextEncoder } from '../../src/train/text-encoding.ts';
import { judgePrediction, tryPrediction } from '../../src/train/try-prediction.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';

interface Said {
  readonly keys?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
  /** ᾱ of the last timestep. */
  readonly lastAlpha?: number;
}

/** A model of a family whose file says this and that. */
function model(family: FamilyId, { keys = [], metadata = {}, lastAlpha }: Said = {}): Checkpoint {
  const all = lastAlpha === undefined ? keys : [...keys, 'alphas_cumprod'];
  const hints = modelHints({
    entries: new Map(all.map((key) => [key, {}])),
    metadata: new Map(Object.entries(metadata)),
    readF32Sync: () => Float32Array.of(0.9, lastAlpha ?? 0),
  });
  const sizes = { unet: { channels: [320] }, text: { layers: 23 } };
  return { family: families[family], hints, sizes } as unknown as Checkpoint;
}

const nothing: WantedSettings = { predictionType: null, zeroTerminalSnr: null, clipSkip: null };

const settle = (
  checkpoint: Checkpoint,
  wanted: Partial<WantedSettings> = {},
  tried: Prediction | null = null,
) => baseSettings(checkpoint, { ...nothing, ...wanted }, async () => tried);

test('SD 1.x and SDXL predict the noise unless their file says otherwise', async () => {
  expect(await settle(model('sd1'))).toMatchObject({
    predictionType: 'epsilon',
    zeroTerminalSnr: false,
    clipSkip: 1,
    resolution: 512,
    warnings: [],
  });
  expect(await settle(model('sdxl'))).toMatchObject({ clipSkip: 2, resolution: 1024 });
  const noob = await settle(model('sdxl', { keys: ['v_pred', 'ztsnr'] }));
  expect(noob).toMatchObject({ predictionType: 'v_prediction', zeroTerminalSnr: true });
  expect(noob.predictionFrom).toBe('its key v_pred');
  const fields = {
    'modelspec.prediction_type': 'v',
    'modelspec.encoder_layer': '2',
    'modelspec.resolution': '768x768',
  };
  expect(await settle(model('sd1', { metadata: fields }))).toMatchObject({
    predictionType: 'v_prediction',
    predictionFrom: 'its metadata, modelspec.prediction_type',
    clipSkip: 2,
    resolution: 768,
  });
});

test('SD 2.x is tried out, and asked for where that tells nothing', async () => {
  expect(await settle(model('sd2'), {}, 'v_prediction')).toMatchObject({
    predictionType: 'v_prediction',
    predictionFrom: 'tried on the base itself',
    resolution: 768,
  });
  expect(await settle(model('sd2'), {}, 'epsilon')).toMatchObject({ resolution: 512 });
  await expect(settle(model('sd2'))).rejects.toThrow('set train.predictionType');
  const given = await settle(model('sd2'), { predictionType: 'epsilon' });
  expect(given).toMatchObject({ predictionType: 'epsilon', warnings: [] });
});

test('what is known beforehand, and what a trial will tell', async () => {
  const foresee = (checkpoint: Checkpoint, wanted: Partial<WantedSettings> = {}) =>
    foreseeSettings(checkpoint, { ...nothing, ...wanted });
  expect(await foresee(model('sd2'))).toMatchObject({ needsTrial: true, resolution: 768 });
  const wanted = { predictionType: 'epsilon' } as const;
  expect(await foresee(model('sd2', { keys: ['v_pred'] }))).toMatchObject({ needsTrial: false });
  expect(await foresee(model('sd2', { keys: ['v_pred'] }), wanted)).toMatchObject({
    needsTrial: false,
    resolution: 512,
  });
  expect(await foresee(model('sdxl'))).toMatchObject({ needsTrial: false, resolution: 1024 });
});

test('a configuration that says otherwise is warned about', async () => {
  const { predictionType, warnings } = await settle(model('sdxl', { keys: ['v_pred'] }), {
    predictionType: 'epsilon',
  });
  expect(predictionType).toBe('epsilon');
  expect(warnings).toEqual([expect.stringContaining('the base predicts velocity')]);
  const usual = model('sd1', { metadata: { 'modelspec.prediction_type': 'v' }, lastAlpha: 0.0047 });
  const forced = await settle(usual, { zeroTerminalSnr: true });
  expect(forced.warnings).toEqual([expect.stringContaining('the usual terminal SNR')]);
});

test('what a model cannot do is refused', async () => {
  await expect(settle(model('sdxl'), { clipSkip: 1 })).rejects.toThrow(
    'train.clipSkip: 1, but all models of SDXL',
  );
  expect((await settle(model('sdxl'), { clipSkip: 2 })).clipSkip).toBe(2);
  await expect(settle(model('sd2'), { clipSkip: 2, predictionType: 'epsilon' })).rejects.toThrow(
    'all models of Stable Diffusion 2.x',
  );
  const wanted = { zeroTerminalSnr: true };
  await expect(settle(model('sd1'), wanted)).rejects.toThrow('needs v_prediction');
  const sd2 = model('sd2', { lastAlpha: 0 });
  expect(await settle(sd2, {}, 'v_prediction')).toMatchObject({ zeroTerminalSnr: true });
});

/** What a good model of flat pictures of value `flat` says of latents x: the noise, the velocity. */
function ideal(x: Float32Array, alpha: number, flat: number) {
  const [a, s] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
  const noise = x.map((value) => (value - a * flat) / s);
  return { epsilon: noise, v_prediction: noise.map((e) => a * e - s * flat) };
}

test.each([0, 0.5, -1])('noise and velocity are told apart; flat pictures of %d', (flat) => {
  const noise = new Rng(1, 'noise').normals(4096);
  const at = (alpha: number) => {
    const latents = noise.map((value) => value * Math.sqrt(1 - alpha));
    return ideal(latents, alpha, alpha < 0.01 ? flat : 0);
  };
  const [early, last] = [at(0.66), at(0.0047)];
  for (const kind of ['epsilon', 'v_prediction'] as const) {
    expect(judgePrediction(noise, early[kind], last[kind])).toBe(kind);
  }
});

test('a network that does not see the noise tells nothing', () => {
  const noise = new Rng(1, 'noise').normals(4096);
  const other = new Rng(2, 'noise').normals(4096);
  expect(judgePrediction(noise, other, other)).toBe(null);
  expect(judgePrediction(noise, new Float32Array(4096), noise)).toBe(null);
});

test('the embedded base predicts the noise', { timeout: 60_000 }, async () => {
  const path = 'models/Stable-diffusion/sdl-tiny-v1.safetensors';
  const file = await openSafetensors(join(import.meta.dirname, '../..', path));
  const checkpoint = openCheckpoint(file);
  const executor = createOnnxExecutor({ parameters: checkpoint, threads: 1 });
  const text = { tokenizer: createClipTokenizer(), maxTokens: 75, clipSkip: 1 };
  const encoder = new FrozenTextEncoder(() => executor, checkpoint, text);
  expect(await tryPrediction(executor, checkpoint, await encoder.encode(['']))).toBe('epsilon');
  await executor.dispose();
  file.close();
});
