/**
 * @file The captions of a run, encoded before its first step: frozen text encoders are then out of memory
 * while the UNet is trained, and the next run finds the texts on disk.
 */

import type { NetworkModel } from '../models/networks.ts';
import type { Executor } from '../runtime/executor.ts';
import { FrozenTextEncoder, type TextOptions, type TextStore } from './text-encoding.ts';

export interface EncodeTextsOptions {
  /** Each caption once. */
  readonly captions: readonly string[];
  /** What previews are drawn from, which always weighs its words; none unless given. */
  readonly prompts?: readonly string[];
  readonly model: NetworkModel;
  readonly text: TextOptions;
  readonly store: TextStore;
  /** Made when the first caption is not in the store. */
  readonly createExecutor: () => Promise<Executor>;
  readonly onProgress: (done: number, total: number) => void;
}

/**
 * Encodes what the store does not have.
 * @returns whether anything had to be encoded
 */
export async function encodeTexts(options: EncodeTextsOptions): Promise<boolean> {
  const { captions, prompts = [], model, text, store, createExecutor, onProgress } = options;
  let executor: Executor | undefined;
  const encoder = new FrozenTextEncoder(
    async () => {
      executor ??= await createExecutor();
      return executor;
    },
    model,
    text,
    store,
  );
  try {
    const total = captions.length + prompts.length;
    for (const [i, caption] of captions.entries()) {
      await encoder.encode([caption]);
      onProgress(i + 1, total);
    }
    for (const [i, prompt] of prompts.entries()) {
      await encoder.encode([prompt], true);
      onProgress(captions.length + i + 1, total);
    }
  } finally {
    await executor?.dispose();
  }
  return executor !== undefined;
}
