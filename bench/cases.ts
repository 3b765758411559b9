/**
 * @file What is timed, by name: `sdxl-1024-b4` is SDXL at 1024×1024 with 4 pictures a batch;
 * `sd15-512-b1-ckpt` recomputes activations; `sd15-tiny-128-b1` is small enough for any machine.
 */

import type { FamilyId } from '../src/models/model-family.ts';
import type { ModelSizes } from '../src/models/sizes.ts';
import { publishedSizes } from './published-sizes.ts';
import { tinySizes } from './tiny-sizes.ts';

/** The published model of each family by the name that is used for it. */
const models = { sd15: 'sd1', sd21: 'sd2', sdxl: 'sdxl' } as const satisfies Record<
  string,
  FamilyId
>;

type BenchModel = keyof typeof models;

export interface BenchCase {
  readonly name: string;
  readonly model: BenchModel;
  readonly family: FamilyId;
  readonly tiny: boolean;
  readonly sizes: ModelSizes;
  /** Side of the pictures, in pixels. */
  readonly resolution: number;
  readonly batch: number;
  /** Gradient checkpointing. */
  readonly checkpointing: boolean;
}

const form = /^(sd15|sd21|sdxl)(-tiny)?-(\d+)-b(\d+)(-ckpt)?$/;

/** @throws Error for a name that is none, with the form of names */
export function parseCase(name: string): BenchCase {
  const [, model, tiny, resolution, batch, ckpt] = form.exec(name) ?? [];
  const side = Number(resolution);
  if (model === undefined || !(side > 0 && side % 64 === 0 && Number(batch) > 0)) {
    throw new Error(
      `"${name}" is no case: give such as sd15-512-b1, sd21-768-b1, sdxl-1024-b4, sd15-512-b1-ckpt ` +
        'or sdxl-tiny-128-b1; the resolution is a multiple of 64',
    );
  }
  const family = models[model as BenchModel];
  return {
    name,
    model: model as BenchModel,
    family,
    tiny: tiny !== undefined,
    sizes: (tiny === undefined ? publishedSizes : tinySizes)[family],
    resolution: side,
    batch: Number(batch),
    checkpointing: ckpt !== undefined,
  };
}
