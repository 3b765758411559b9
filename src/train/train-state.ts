/** @file What a run goes on from: factors, moments, gathered gradients, the step, and the curve so far. */

import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import type { LoraLayout } from '../lora/lora-layout.ts';
import type { Executor } from '../runtime/executor.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';
import { openSafetensors } from '../weights/safetensors-file.ts';
import { writeSafetensors } from '../weights/safetensors-writer.ts';
import { momentVariables } from './lora-step.ts';

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
  readonly history: History;
}

/** Everything that must be equal for a run to go on, as text by name. */
export type Fingerprint = Readonly<Record<string, string>>;

const formatVersion = '1';

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
  | { readonly kind: 'same'; readonly state: RunState }
  | { readonly kind: 'other'; readonly differing: readonly string[] };

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
  const file = await openSafetensors(path);
  try {
    if (file.metadata.get('sdl-train.state') !== formatVersion) {
      throw new UserError(
        `${path}: not a state of this version of sdl-train; delete it to start anew`,
      );
    }
    const found = JSON.parse(file.metadata.get('fingerprint') ?? '{}') as Fingerprint;
    const differing = differences(found, fingerprint);
    if (differing.length > 0) return { kind: 'other', differing };
    for (const name of keptVariables(layouts)) {
      const values = await file.readF32(name);
      executor.writeVariable(name, f32([values.length], values));
    }
    const state: RunState = {
      step: Number(file.metadata.get('step')),
      updates: Number(file.metadata.get('updates')),
      startedAt: Number(file.metadata.get('startedAt')),
      history: {
        losses: Array.from(await file.readF32('history.loss')),
        learningRates: Array.from(await file.readF32('history.learningRate')),
      },
    };
    return { kind: 'same', state };
  } finally {
    await file.close();
  }
}

/** Moves the state of another run aside; one that lies there already is replaced. */
export async function setStateAside(path: string): Promise<string> {
  const aside = `${path}.old`;
  await rename(path, aside);
  return aside;
}
