/** @file What a run goes on from: factors, moments, gathered gradients, the step, and the curve so far. */

import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import type { LoraLayout } from '../lora/lora-layout.ts';
import type { Executor } from '../runtime/executor.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { shown } from '../weights/file-error.ts';
import { openSafetensors, type SafetensorsFile } from '../weights/safetensors-file.ts';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { momentVariables } from './lora-step.ts';
import type { LossScale } from './loss-scale.ts';

/** The curve of a run: one value a step. */
export interface History {
  readonly losses: number[];
  readonly learningRates: number[];
}

/** The state of a run beside its tensors. */
export interface RunState {
  /** Optimizer steps done. */
  step: number;
  /** Updates of AdamW done; fewer than steps where steps were skipped. */
  updates: number;
  /** The day on which the run began, Unix time in seconds. */
  startedAt: number;
  /** Names of the adapters saved on the way that are still there, oldest first. */
  readonly saved: string[];
  readonly history: History;
  /** Of the next step; null where losses are not scaled. */
  lossScale: LossScale | null;
  /** Most items that the device's memory had room for at once; null where it had for all. */
  microBatch: number | null;
}

/** Everything that must be equal for a run to go on, as text by name. */
export type Fingerprint = Readonly<Record<string, string>>;

/** 2: down factors first, then up factors; those of layers that are computed as one side by side. */
const formatVersion = '2';

/** Variables that live through a run. */
function keptVariables(layouts: readonly LoraLayout[]): string[] {
  return layouts.flatMap((layout) => [layout.variable, ...momentVariables(layout)]);
}

/** Writes the state, wholly or not at all. */
export async function saveState(
  path: string,
  executor: Executor,
  layouts: readonly LoraLayout[],
  state: RunState,
  fingerprint: Fingerprint,
): Promise<void> {
  const tensors = new Map<string, Tensor>(
    keptVariables(layouts).map((name) => [name, executor.readVariable(name)]),
  );
  const { lossScale, microBatch } = state;
  const { losses, learningRates } = state.history;
  tensors.set('history.loss', f32([losses.length], losses));
  tensors.set('history.learningRate', f32([learningRates.length], learningRates));
  await writeSafetensors(
    path,
    tensors,
    new Map([
      ['sdl-train.state', formatVersion],
      ['step', String(state.step)],
      ['updates', String(state.updates)],
      ['startedAt', String(state.startedAt)],
      ['saved', JSON.stringify(state.saved)],
      ...(lossScale === null ? [] : [['lossScale', JSON.stringify(lossScale)] as const]),
      ...(microBatch === null ? [] : [['microBatch', String(microBatch)] as const]),
      ['fingerprint', JSON.stringify(fingerprint)],
    ]),
  );
}

/** What differs between two fingerprints: the names. */
function differences(a: Fingerprint, b: Fingerprint): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => a[key] !== b[key]);
}

/** The state found for a run: none, one to go on from, or one of another run. */
export type FoundState =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'same';
      readonly state: RunState;
      /** Steps that the run was planned with before, where that has changed since. */
      readonly formerSteps: number | null;
    }
  | { readonly kind: 'other'; readonly differing: readonly string[] };

/** A whole number that is not negative. */
function countIn({ metadata }: SafetensorsFile, key: string): number {
  const text = metadata.get(key) ?? '';
  if (!/^\d{1,15}$/.test(text)) throw new UserError(`its ${key} is ${shown(text)}`);
  return Number(text);
}

function jsonIn({ metadata }: SafetensorsFile, key: string): unknown {
  try {
    return JSON.parse(metadata.get(key) ?? '');
  } catch {
    throw new UserError(`its ${key} is no JSON`);
  }
}

/** The values of a tensor of one dimension. */
async function vectorIn(file: SafetensorsFile, name: string, length: number) {
  const values = await file.readF32(name);
  if (values.length !== length) {
    throw new UserError(`its ${name} has ${values.length} values, not ${length}`);
  }
  return values;
}

const isText = (value: unknown) => typeof value === 'string';

function fingerprintIn(file: SafetensorsFile): Fingerprint {
  const value = jsonIn(file, 'fingerprint');
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (isRecord && Object.values(value).every(isText)) return value as Fingerprint;
  throw new UserError('its fingerprint is no record of texts');
}

/** Null where the state has none, as those of runs that do not scale losses. */
function lossScaleIn(file: SafetensorsFile): LossScale | null {
  if (!file.metadata.has('lossScale')) return null;
  const { scale, goodSteps } = Object(jsonIn(file, 'lossScale')) as Partial<LossScale>;
  const isScale = typeof scale === 'number' && scale > 0 && Number.isSafeInteger(goodSteps);
  if (!isScale) throw new UserError('its lossScale is no loss scale');
  return { scale, goodSteps: goodSteps! };
}

function microBatchIn(file: SafetensorsFile): number | null {
  if (!file.metadata.has('microBatch')) return null;
  const microBatch = countIn(file, 'microBatch');
  if (microBatch === 0) throw new UserError('its microBatch is 0');
  return microBatch;
}

async function readRunState(file: SafetensorsFile): Promise<RunState> {
  const step = countIn(file, 'step');
  const saved = jsonIn(file, 'saved');
  if (!Array.isArray(saved)) throw new UserError('its saved is no list');
  if (!saved.every(isText)) throw new UserError('its saved is no list of names');
  return {
    step,
    updates: countIn(file, 'updates'),
    startedAt: countIn(file, 'startedAt'),
    saved,
    lossScale: lossScaleIn(file),
    microBatch: microBatchIn(file),
    history: {
      losses: Array.from(await vectorIn(file, 'history.loss', step)),
      learningRates: Array.from(await vectorIn(file, 'history.learningRate', step)),
    },
  };
}

/** A run goes on with another number of steps, unless more were done already. */
function canGoOnWith(differing: readonly string[], { step }: RunState, { steps }: Fingerprint) {
  return differing.length === 1 && differing[0] === 'steps' && step <= Number(steps);
}

async function readState(
  file: SafetensorsFile,
  executor: Executor,
  layouts: readonly LoraLayout[],
  fingerprint: Fingerprint,
): Promise<FoundState> {
  if (file.metadata.get('sdl-train.state') !== formatVersion) {
    throw new UserError('it is no state of this version of sdl-train');
  }
  const found = fingerprintIn(file);
  const state = await readRunState(file);
  const differing = differences(found, fingerprint);
  const hasOtherLength = canGoOnWith(differing, state, fingerprint);
  if (differing.length > 0 && !hasOtherLength) return { kind: 'other', differing };
  for (const layout of layouts) {
    for (const name of keptVariables([layout])) {
      const values = await vectorIn(file, name, layout.size);
      executor.writeVariable(name, f32([layout.size], values));
    }
  }
  return { kind: 'same', state, formerSteps: hasOtherLength ? Number(found['steps']) : null };
}

/**
 * Reads the state, and puts its tensors in the executor's variables where it belongs to this run.
 * @throws UserError where the file is damaged
 */
export async function loadState(
  path: string,
  executor: Executor,
  layouts: readonly LoraLayout[],
  fingerprint: Fingerprint,
): Promise<FoundState> {
  if (!existsSync(path)) return { kind: 'none' };
  let file: SafetensorsFile | undefined;
  try {
    file = await openSafetensors(path);
    return await readState(file, executor, layouts, fingerprint);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    // Without the advice, which is for models.
    const reason = error.message.replace(`${path}: `, '').split(';')[0];
    throw new UserError(
      `${path}: cannot go on from this saved state (${reason}); delete it, or add --restart, to start anew`,
    );
  } finally {
    file?.close();
  }
}

/** Moves the state of another run aside; one that lies there already is replaced. */
export async function setStateAside(path: string): Promise<string> {
  const aside = `${path}.old`;
  await rename(path, aside);
  return aside;
}
