/** @file What a file says of how its model was trained, beside its weights. */

import type { Prediction } from './model-family.ts';

/** A finding with where it is from, such as `its key v_pred`. */
interface Finding<T> {
  readonly value: T;
  readonly from: string;
}

/** What is said; null where nothing is. */
export interface ModelHints {
  readonly prediction: Finding<Prediction> | null;
  /** Whether nothing of the picture is left at the last timestep. */
  readonly zeroTerminalSnr: Finding<boolean> | null;
  /** The text encoder's layer that is read, 1 the last. */
  readonly clipSkip: Finding<number> | null;
  /** Side of the pictures that it was made at, in pixels. */
  readonly resolution: number | null;
}

/** What is needed of a file. */
export interface HintSource {
  readonly entries: ReadonlyMap<string, unknown>;
  readonly metadata?: ReadonlyMap<string, string>;
  readF32Sync(key: string): Float32Array;
}

const predictions: Readonly<Record<string, Prediction>> = {
  v: 'v_prediction',
  v_prediction: 'v_prediction',
  'v-prediction': 'v_prediction',
  epsilon: 'epsilon',
};

/** A known text as a prediction type, else null. */
export function predictionNamed(text: unknown): Prediction | null {
  return typeof text === 'string' ? (predictions[text.toLowerCase()] ?? null) : null;
}

/** ᾱ of the last timestep below which a schedule counts as ending in noise alone; usually 0.0047. */
const nothingLeft = 1e-4;

function keyed(entries: HintSource['entries'], name: string): string | null {
  for (const key of entries.keys()) if (key === name || key.endsWith(`.${name}`)) return key;
  return null;
}

function predictionHint({ entries, metadata }: HintSource): Finding<Prediction> | null {
  const key = keyed(entries, 'v_pred');
  if (key !== null) return { value: 'v_prediction', from: `its key ${key}` };
  const field = 'modelspec.prediction_type';
  const value = predictionNamed(metadata?.get(field));
  return value === null ? null : { value, from: `its metadata, ${field}` };
}

function terminalSnrHint(source: HintSource): Finding<boolean> | null {
  const key = keyed(source.entries, 'ztsnr');
  if (key !== null) return { value: true, from: `its key ${key}` };
  if (!source.entries.has('alphas_cumprod')) return null;
  const last = source.readF32Sync('alphas_cumprod').at(-1) ?? Number.NaN;
  return Number.isNaN(last)
    ? null
    : { value: last < nothingLeft, from: 'its table alphas_cumprod' };
}

/** ModelSpec's layer, as people count it: 2 is the last but one. */
function clipSkipHint({ metadata }: HintSource): Finding<number> | null {
  const field = 'modelspec.encoder_layer';
  const value = Number(metadata?.get(field) ?? Number.NaN);
  const sound = Number.isInteger(value) && value >= 1 && value <= 12;
  return sound ? { value, from: `its metadata, ${field}` } : null;
}

/** ModelSpec's `512x512`; the side of a square of the same area. */
function resolutionHint({ metadata }: HintSource): number | null {
  const [, width, height] = /^(\d+)x(\d+)$/.exec(metadata?.get('modelspec.resolution') ?? '') ?? [];
  const side = Math.round(Math.sqrt(Number(width) * Number(height)));
  return side > 0 ? side : null;
}

/** What a checkpoint's keys, tables and metadata say. */
export function modelHints(source: HintSource): ModelHints {
  return {
    prediction: predictionHint(source),
    zeroTerminalSnr: terminalSnrHint(source),
    clipSkip: clipSkipHint(source),
    resolution: resolutionHint(source),
  };
}

/** A sampler's or a trainer's table that no family here has, such as `edm_mean`; else null. */
export function foreignProcess({ entries }: HintSource): string | null {
  for (const key of entries.keys()) if (/(^|\.)edm_(mean|std|vpred\b)/.test(key)) return key;
  return null;
}
