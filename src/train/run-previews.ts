/** @file The previews of a run: kept as files, so that the sheet is whole also where the run was interrupted. */

import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
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

/** When a row of previews was made: after so many steps, or at the end. */
type Moment = number | 'after';

function requestsOf({ prompts, seeds }: PreviewSettings): PreviewRequest[] {
  return prompts.flatMap(({ seed, ...texts }) =>
    (seed === null ? seeds : [seed]).map((each) => ({ ...texts, seed: each })),
  );
}

function labelOf(row: string): string {
  if (row === 'after') return 'after';
  return Number(row) === 0 ? 'before' : `step ${Number(row)}`;
}

const rowName = (moment: Moment) =>
  moment === 'after' ? 'after' : String(moment).padStart(8, '0');

/** Makes previews when they are due. */
export class RunPreviews {
  readonly #settings: PreviewSettings;
  readonly #folder: RunFolder;
  readonly #networks: Pick<PreviewOptions, 'executor' | 'model' | 'layouts' | 'schedule' | 'text'>;
  readonly #onProgress: (progress: TrainProgress) => void;

  constructor(
    settings: PreviewSettings,
    folder: RunFolder,
    networks: Pick<PreviewOptions, 'executor' | 'model' | 'layouts' | 'schedule' | 'text'>,
    onProgress: (progress: TrainProgress) => void,
  ) {
    this.#settings = settings;
    this.#folder = folder;
    this.#networks = networks;
    this.#onProgress = onProgress;
  }

  due(step: number): boolean {
    const { enabled, everySteps } = this.#settings;
    return enabled && everySteps !== null && step % everySteps === 0;
  }

  /** Samples every prompt and seed, keeps the pictures, and draws the sheet of all rows so far. */
  async make(moment: Moment): Promise<void> {
    if (!this.#settings.enabled) return;
    const requests = requestsOf(this.#settings);
    const sampler = new PreviewSampler({ ...this.#settings, ...this.#networks });
    const { previewFolder } = this.#folder;
    await mkdir(previewFolder, { recursive: true });
    try {
      for (const [i, request] of requests.entries()) {
        this.#onProgress({
          phase: 'preview',
          done: i,
          total: requests.length,
          text: labelOf(rowName(moment)),
        });
        const png = await encodePng(await sampler.sample(request));
        await writeFileAtomic(join(previewFolder, `${rowName(moment)}-${i}.png`), png);
        if (i === 0) this.#folder.cover = png;
      }
    } finally {
      await sampler.dispose();
    }
    await this.#drawSheet(requests);
  }

  async #drawSheet(requests: readonly PreviewRequest[]): Promise<void> {
    const { previewFolder } = this.#folder;
    const rows = new Set(
      (await readdir(previewFolder)).flatMap((file) => /^(\w+)-\d+\.png$/.exec(file)?.[1] ?? []),
    );
    const images: { label: string; images: PreviewImage[] }[] = [];
    for (const row of [...rows].sort()) {
      const files = requests.map((_, i) => join(previewFolder, `${row}-${i}.png`));
      images.push({ label: labelOf(row), images: await Promise.all(files.map(readPicture)) });
    }
    const sheet = await renderContactSheet({
      rows: images,
      columns: requests.map(({ prompt, seed }) => `${prompt} · seed ${seed}`),
    });
    await writeFileAtomic(join(this.#folder.path, 'previews.png'), sheet);
  }
}

async function readPicture(path: string): Promise<PreviewImage> {
  const { data, info } = await sharp(await readFile(path))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, rgb: data };
}
