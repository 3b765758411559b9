/**
 * @file Peaks of resident memory that were measured: `bench/step.ts` (UNet alone, texts given), the
 * whole process in its steps, on Linux with two threads; `isRun`: a run of `sdl-train` with the text
 * encoder trained. Full size is SD 1.5 with random weights and rank 16; the small ones have rank 4.
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
  readonly gib: number;
}

type Row = readonly [side: number, batch: number, checkpointing: boolean, gib: number];

const of = (family: FamilyId, size: 'full' | 'small', isRun: boolean, rows: readonly Row[]) =>
  rows.map(
    ([side, batch, checkpointing, gib]): MeasuredPeak => ({
      family,
      size,
      side,
      batch,
      checkpointing,
      isRun,
      gib,
    }),
  );

export const measuredPeaks: readonly MeasuredPeak[] = [
  ...of('sd1', 'full', false, [
    [256, 1, false, 6.45],
    [256, 2, false, 7.01],
    [512, 1, false, 8.78],
    [256, 1, true, 4.28],
    [512, 1, true, 5.71],
    // Measured after the fit.
    [384, 2, true, 5.65],
  ]),
  ...of('sd1', 'full', true, [
    [512, 1, false, 9.56],
    [256, 1, true, 5.09],
  ]),
  ...of('sd1', 'small', false, [
    [256, 1, false, 0.407],
    [512, 1, false, 1.128],
    [512, 4, false, 3.309],
    [512, 8, false, 6.397],
    [512, 4, true, 3.238],
  ]),
  ...of('sdxl', 'small', false, [
    [256, 1, false, 0.274],
    [512, 1, false, 0.329],
    [512, 4, false, 0.546],
    [512, 8, false, 0.844],
    [512, 4, true, 0.423],
  ]),
];
