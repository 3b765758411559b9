/** @file How long the run will be, in steps, batches and epochs. */

import type { Config } from '../../config/resolve-config.ts';
import type { DatasetReport } from '../../data/report.ts';
import { planRun } from '../../train/run-plan.ts';
import { plural } from '../format-units.ts';

/** The length of a run as facts for the page; none where nothing can be trained. */
export function lengthFacts(report: DatasetReport, config: Config): [string, string][] {
  const buckets = new Map(report.imageUses.map(({ path, bucket }) => [path, bucket]));
  const samples = report.samples.flatMap(({ path, repeats, prior }) => {
    const bucket = buckets.get(path);
    return bucket ? [{ bucket, repeats, prior }] : [];
  });
  if (!samples.some(({ prior }) => !prior)) return [];
  const { batchSize, gradientAccumulationSteps: parts } = config.train;
  const plan = planRun(samples, { ...config.train, flip: false });
  const perEpoch = plan.batchesPerEpoch / parts;
  const epochs = (plan.totalSteps * parts) / plan.batchesPerEpoch;
  const images = plural(batchSize * parts, 'image');
  const shown = Number(perEpoch.toFixed(1));
  return [
    [
      'an epoch',
      `${plural(plan.batchesPerEpoch, 'batch', 'batches')}, ${plural(shown, 'step')} of ${images}`,
    ],
    [
      'the run',
      `${plural(plan.totalSteps, 'step')}, ${plural(Number(epochs.toFixed(1)), 'epoch')}`,
    ],
  ];
}
