/**
 * @file Peaks of resident memory that were measured: `bench/step.ts` (UNet alone, texts given), the
 * whole process in its steps, on Linux with two threads; `isRun`: a run of `sdl-train` with the text
 * encoder trained; those of SD 2.1 and SDXL in full size: whole runs, texts from the cache. Weights are
 * random; full-size SD 1.5 has rank 16, the others in full size 8, the small ones 4.
 */

import type { FamilyId } from '../../../../src/models/model-family.ts';

export interface MeasuredPeak {
  readonly family: FamilyId;
  readonly size: 'full' | 'small';
  /** Pixels of a side. */
  readonly side: number;
  readonly batch: number;
  readonly checkpointing: boolean;
  readonly isRun: boolean;
  readonly halfWeights: boolean;
  readonly gib: number;
}

type Row = readonly [
  side: number,
  batch: number,
  checkpointing: boolean,
  gib: number,
  halfWeights?: boolean,
];

const of = (family: FamilyId, size: 'full' | 'small', isRun: boolean, rows: readonly Row[]) =>
  rows.map(
    ([side, batch, checkpointing, gib, halfWeights = false]): MeasuredPeak => ({
      family,
      size,
      side,
      batch,
      checkpointing,
      isRun,
      halfWeights,
      gib,
    }),
  );

export const measuredPeaks: readonly MeasuredPeak[] = [
  ...of('sd1', 'full', false, [
    [256, 1, false, 6.45],
    [256, 2, false, 6.98],
    [512, 1, false, 8.78],
    [256, 1, true, 4.28],
    [512, 1, true, 5.33],
    [384, 2, true, 5.38],
  ]),
  ...of('sd1', 'full', true, [
    [512, 1, false, 9.54],
    [256, 1, true, 4.99],
    [512, 1, true, 6.02],
    [512, 1, true, 4.48, true],
  ]),
  ...of('sd2', 'full', false, [[512, 1, true, 5.22]]),
  ...of('sdxl', 'full', false, [
    [512, 1, true, 12.5],
    [512, 1, true, 8.05, true],
  ]),
  ...of('sd1', 'small', false, [
    [256, 1, false, 0.407],
    [512, 1, false, 0.65],
    [512, 4, false, 1.14],
    [512, 8, false, 1.86],
    [512, 4, true, 0.91],
  ]),
  ...of('sdxl', 'small', false, [
    [256, 1, false, 0.274],
    [512, 1, false, 0.329],
    [512, 4, false, 0.546],
    [512, 8, false, 0.844],
    [512, 4, true, 0.423],
  ]),
];
