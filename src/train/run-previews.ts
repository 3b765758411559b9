/** @file The previews of a run: kept as files, so that the sheet is whole also where the run was interrupted. */

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { OutOfMemoryError } from '../runtime/executor.ts';
import { writeFileAtomic } from '../weights/atomic-write.ts';
import { renderContactSheet } from './pictures/contact-sheet.ts';
import { encodePng } from './pictures/encode-png.ts';
import {
  type PreviewImage,
  type PreviewOptions,
  type PreviewRequest,
  PreviewSampler,
} from './previews.ts';
import type { RunFolder } from './run-folder.ts';
import type { TrainProgress } from './train-options.ts';

export interface PreviewSettings {
  readonly enabled: boolean;
  readonly prompts: readonly {
    readonly prompt: string;
    readonly negativePrompt: string;
    readonly seed: number | null;
  }[];
  readonly everySteps: number | null;
  readonly after: boolean;
  readonly sampler: 'ddim' | 'euler_a';
  readonly steps: number;
  readonly guidanceScale: number;
  readonly width: number;
  readonly height: number;
  readonly seeds: readonly number[];
}

/** What pictures are made with, the same for all of a run. */
type PreviewNetworks = Pick<
  PreviewOptions,
  'executor' | 'model' | 'layouts' | 'schedule' | 'text' | 'frozenText'
>;

function requestsOf({ prompts, seeds }: PreviewSettings): PreviewRequest[] {
  return prompts.flatMap(({ seed, ...texts }) =>
    (seed === null ? seeds : [seed]).map((each) => ({ ...texts, seed: each })),
  );
}

/** A row is named by its step, so that names sort in the order of the run. */
const rowName = (step: number) => String(step).padStart(8, '0');

/** Step of a picture's row, or NaN for files that are none. */
const stepOfFile = (file: string) => Number(/^(\d{8,})-\d+-[0-9a-f]+\.png$/.exec(file)?.[1]);

/** Makes previews when they are due. */
export class RunPreviews {
  readonly #settings: PreviewSettings;
  readonly #folder: RunFolder;
  readonly #networks: PreviewNetworks;
  readonly #totalSteps: number;
  readonly #onProgress: (progress: TrainProgress) => void;
  /** There was no memory for them. */
  #isLeftOut = false;

  constructor(
    settings: PreviewSettings,
    folder: RunFolder,
    networks: PreviewNetworks,
    totalSteps: number,
    onProgress: (progress: TrainProgress) => void,
  ) {
    this.#settings = settings;
    this.#folder = folder;
    this.#networks = networks;
    this.#totalSteps = totalSteps;
    this.#onProgress = onProgress;
  }

  due(step: number): boolean {
    const { enabled, everySteps } = this.#settings;
    return enabled && everySteps !== null && step % everySteps === 0;
  }

  /**
   * Samples every prompt and seed that this step has no picture of yet, and draws the sheet of all
   * rows so far.
   * @returns null, or what to say where the device has no memory for them, so that no more are made
   */
  async make(step: number): Promise<string | null> {
    if (!this.#settings.enabled || this.#isLeftOut) return null;
    try {
      await this.#makeRow(step);
      return null;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.#isLeftOut = true;
      const { width, height } = this.#settings;
      return (
        `the device has no memory for previews of ${width}×${height} beside the training (${error.reason}): ` +
        'they are left out from here on; lower preview.width and preview.height'
      );
    }
  }

  async #makeRow(step: number): Promise<void> {
    const requests = requestsOf(this.#settings);
    const { previewFolder } = this.#folder;
    await mkdir(previewFolder, { recursive: true });
    const present = new Set(await readdir(previewFolder));
    const files = requests.map((request, i) => this.#fileName(step, i, request));
    if (files.some((file) => !present.has(file))) await this.#sample(step, requests, files);
    this.#folder.cover = await readFile(join(previewFolder, files[0]!));
    await this.#drawSheet(requests);
  }

  /** Removes the pictures of steps after this one, which another run, or another plan, has made. */
  async forgetAfter(step: number): Promise<void> {
    const { previewFolder } = this.#folder;
    for (const file of await readdir(previewFolder).catch(() => [])) {
      if (stepOfFile(file) > step) await rm(join(previewFolder, file), { force: true });
    }
  }

  async #sample(
    step: number,
    requests: readonly PreviewRequest[],
    files: readonly string[],
  ): Promise<void> {
    const sampler = new PreviewSampler({ ...this.#settings, ...this.#networks });
    try {
      const latents: Float32Array[] = [];
      for (const [i, request] of requests.entries()) {
        this.#onProgress({
          phase: 'preview',
          done: i,
          total: requests.length,
          text: this.#labelOf(step),
        });
        latents.push(await sampler.latents(request));
      }
      await sampler.endSampling();
      for (const [i, drawn] of latents.entries()) {
        const png = await encodePng(await sampler.decode(drawn));
        await writeFileAtomic(join(this.#folder.previewFolder, files[i]!), png);
      }
    } finally {
      await sampler.dispose();
    }
  }

  /** The name holds all that a picture is made from beside the adapter. */
  #fileName(step: number, index: number, request: PreviewRequest): string {
    const { sampler, steps, guidanceScale, width, height } = this.#settings;
    const made = JSON.stringify([request, sampler, steps, guidanceScale, width, height]);
    const digest = createHash('sha256').update(made).digest('hex').slice(0, 8);
    return `${rowName(step)}-${index}-${digest}.png`;
  }

  #labelOf(step: number): string {
    if (step === 0) return 'before';
    return step === this.#totalSteps ? 'after' : `step ${step}`;
  }

  /** Rows that were made of other prompts are left out. */
  async #drawSheet(requests: readonly PreviewRequest[]): Promise<void> {
    const { previewFolder, path } = this.#folder;
    const present = new Set(await readdir(previewFolder));
    const steps = [...new Set([...present].map(stepOfFile))].filter((step) => step >= 0);
    const rows: { label: string; images: PreviewImage[] }[] = [];
    for (const step of steps.sort((a, b) => a - b)) {
      const files = requests.map((request, i) => this.#fileName(step, i, request));
      if (files.some((file) => !present.has(file))) continue;
      const paths = files.map((file) => join(previewFolder, file));
      rows.push({ label: this.#labelOf(step), images: await Promise.all(paths.map(readPicture)) });
    }
    const sheet = await renderContactSheet({
      rows,
      columns: requests.map(({ prompt, seed }) => `${prompt} · seed ${seed}`),
    });
    await writeFileAtomic(join(path, 'previews.png'), sheet);
  }
}

async function readPicture(path: string): Promise<PreviewImage> {
  const { data, info } = await sharp(await readFile(path))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, rgb: data };
}
