/** @file The images and captions of a run, in their buckets. */

import type { Size } from '../data/buckets.ts';
import type { DatasetFolder } from '../data/image-folders.ts';
import { type PreparedSample, prepareSamples } from '../data/prepare-samples.ts';
import { throwProblems } from '../data/problems.ts';
import { scanDataset } from '../data/scan-folder.ts';

/** The part of the configuration that says which images there are and how they are cut. */
export interface DatasetSettings {
  readonly folders: readonly DatasetFolder[];
  readonly captionExtensions: readonly string[];
  readonly triggerWord: string | null;
  readonly resolution: readonly [number, number];
  readonly buckets: {
    readonly enabled: boolean;
    readonly step: number;
    readonly minSide: number;
    readonly maxSide: number;
    readonly upscale: boolean;
  };
}

/** A sample with the size that it is trained at. */
export interface TrainSample extends PreparedSample {
  readonly bucket: Size;
}

export interface Dataset {
  readonly samples: readonly TrainSample[];
  readonly warnings: readonly string[];
}

/**
 * Finds all images with their captions, and fits them into buckets.
 * @throws UserError that lists what is wrong with the data set
 */
export async function readDataset(settings: DatasetSettings): Promise<Dataset> {
  const { folders, captionExtensions, triggerWord, buckets, resolution } = settings;
  const { samples, warnings } = await scanDataset(folders, { captionExtensions, triggerWord });
  const { prepared, problems } = await prepareSamples(samples, { ...buckets, resolution });
  throwProblems(problems);
  return {
    samples: prepared.map((sample) => ({ ...sample, bucket: sample.fit.bucket })),
    warnings,
  };
}
