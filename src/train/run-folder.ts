/** @file The files of one run: its state and pictures beside the adapters, and when adapters are saved. */

import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import sharp from 'sharp';
import { epochFileName, stepFileName } from '../export/file-names.ts';
import { writePreview } from '../export/sidecars.ts';
import { writeFileAtomic } from '../weights/atomic-write.ts';
import { renderLossCurve } from './pictures/loss-curve.ts';
import type { RunPlan } from './run-plan.ts';
import { type SaveAdapterOptions, saveAdapter } from './save-adapter.ts';
import { SmoothedLoss } from './smoothed-loss.ts';
import type { Fingerprint, History } from './train-state.ts';

export interface SaveSettings {
  readonly dir: string;
  readonly name: string;
  readonly saveEverySteps: number | null;
  readonly saveEveryEpochs: number | null;
  /** Adapters of the way that are kept; null keeps all. */
  readonly keepLast: number | null;
}

/** Longer side of the card's picture where a data set's image stands in, in pixels. */
const coverSide = 512;

/** Where the run of an adapter keeps its files. */
export function runFolderPath({ dir, name }: Pick<SaveSettings, 'dir' | 'name'>): string {
  return join(dir, '.sdl-train', name);
}

/** The files of a run. Web UIs list adapters by their ending, so none of these has it. */
export class RunFolder {
  readonly path: string;
  readonly statePath: string;
  readonly previewFolder: string;
  /** A number of the run's inputs, the same each time. */
  readonly sessionId: number;
  readonly #name: string;
  readonly #keepLast: number | null;
  /** The first picture of the last previews, for the adapter's card. */
  cover: Uint8Array | undefined;

  constructor({ dir, name, keepLast }: SaveSettings, fingerprint: Fingerprint) {
    this.path = runFolderPath({ dir, name });
    this.statePath = join(this.path, 'state.sdlstate');
    this.previewFolder = join(this.path, 'previews');
    this.#name = name;
    this.#keepLast = keepLast;
    const digest = createHash('sha256').update(JSON.stringify(fingerprint)).digest();
    this.sessionId = digest.readUInt32LE(0);
  }

  /** The path of the adapter that is to be saved after a step, or null. */
  saveDue(settings: SaveSettings, plan: RunPlan, step: number): string | null {
    const { dir, name, saveEverySteps, saveEveryEpochs } = settings;
    if (saveEverySteps !== null && step % saveEverySteps === 0) {
      return join(dir, stepFileName(name, step));
    }
    if (saveEveryEpochs === null) return null;
    const epochs = plan.epochsDone(step);
    const isNew = epochs > plan.epochsDone(step - 1) && epochs % saveEveryEpochs === 0;
    return isNew ? join(dir, epochFileName(name, epochs)) : null;
  }

  /**
   * Saves an adapter; on the way, removes the oldest beyond those that are kept.
   * @param saved names of those saved before, which is brought up to date
   */
  async saveAdapter(options: SaveAdapterOptions, saved: string[]): Promise<void> {
    await saveAdapter(options);
    if (options.card) return;
    const name = basename(options.path);
    if (!saved.includes(name)) saved.push(name);
    while (this.#keepLast !== null && saved.length > this.#keepLast) {
      await rm(join(dirname(options.path), basename(saved.shift()!)), { force: true });
    }
  }

  /** Draws the loss curve and gives the adapter its picture; returns what was written, by name. */
  async finish(
    adapterPath: string,
    { losses, learningRates }: History,
    trainingImage: string,
  ): Promise<(readonly [string, string])[]> {
    const running = new SmoothedLoss();
    const smoothed = losses.map((loss) => running.add(loss));
    const curve = await renderLossCurve({
      steps: losses.map((_, i) => i + 1),
      losses,
      smoothed,
      learningRates,
      title: `${this.#name}: loss`,
    });
    const curvePath = join(this.path, 'loss.png');
    await writeFileAtomic(curvePath, curve);
    const cover = this.cover ?? (await thumbnail(trainingImage));
    const written: (readonly [string, string])[] = [['loss curve', curvePath]];
    if (this.cover) written.push(['previews', join(this.path, 'previews.png')]);
    await writePreview(adapterPath, cover);
    return written;
  }
}

/** A picture of the data set, small, for a card without previews. */
async function thumbnail(path: string): Promise<Uint8Array> {
  return sharp(path)
    .rotate()
    .resize(coverSide, coverSide, { fit: 'inside', withoutEnlargement: true })
    .png()
    .toBuffer();
}
