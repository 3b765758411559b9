/** @file What a run is going to do, in a few lines before it starts. */

import { basename, join } from 'node:path';
import type { UnsizedConfig } from '../config/resolve-config.ts';
import { scanDataset } from '../data/scan-folder.ts';
import { finalFileName } from '../export/file-names.ts';
import { foreseeSettings } from '../train/base-settings.ts';
import { openModel } from '../train/open-model.ts';
import { executorText } from './create-executor.ts';
import { facts } from './format-table.ts';
import { formatBytes, formatNumber, plural } from './format-units.ts';
import { resolutionText } from './resolution-text.ts';
import { shownPath } from './shown-path.ts';

/** `rank 16, alpha 16, UNet and text encoder` */
function adapterText({
  rank,
  alpha,
  unet,
  textEncoder,
  convRank,
  convAlpha,
}: UnsizedConfig['lora']) {
  const parts = [unet ? 'UNet' : '', textEncoder ? 'text encoder' : ''].filter(Boolean);
  const conv = convRank === null ? '' : `, convolutions rank ${convRank}, alpha ${convAlpha}`;
  return `rank ${rank}, alpha ${formatNumber(alpha)}${conv}, ${parts.join(' and ')}`;
}

/** `500 steps of 1 image` */
function lengthText({
  steps,
  epochs,
  batchSize,
  gradientAccumulationSteps,
}: UnsizedConfig['train']) {
  const length = steps !== null ? plural(steps, 'step') : plural(epochs ?? 0, 'epoch');
  const images = batchSize * gradientAccumulationSteps;
  const how = gradientAccumulationSteps > 1 ? ` (${gradientAccumulationSteps} × ${batchSize})` : '';
  return `${length}, ${plural(images, 'image')} a step${how}`;
}

function ratesText({ lora, train }: UnsizedConfig): string {
  const { unetLearningRate: unet, textEncoderLearningRate: text, lrSchedule, warmupSteps } = train;
  const rates = [
    lora.unet ? `UNet ${formatNumber(unet)}` : '',
    lora.textEncoder ? `text encoder ${formatNumber(text)}` : '',
  ].filter(Boolean);
  const warmup = warmupSteps > 0 ? `, ${plural(warmupSteps, 'warm-up step')}` : '';
  return `${rates.join(', ')}; ${lrSchedule.replaceAll('_', ' ')}${warmup}`;
}

/** The base, and the size of the pictures that it is trained with. */
async function baseFacts(config: UnsizedConfig): Promise<[string, string][]> {
  const { base, vae } = config;
  const { checkpoint, files, close } = await openModel(base, vae);
  try {
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    return [
      ['base', `${shownPath(base)}: ${checkpoint.family.name}, ${formatBytes(bytes)}`],
      ...(vae === null ? [] : [['VAE', basename(vae)] as [string, string]]),
      ['resolution', resolutionText(config, await foreseeSettings(checkpoint, config.train))],
    ];
  } finally {
    close();
  }
}

async function dataText({ data }: UnsizedConfig): Promise<string> {
  const { samples } = await scanDataset(data.folders, data);
  const trained = samples.filter((sample) => !sample.prior);
  const visits = trained.reduce((sum, { repeats }) => sum + repeats, 0);
  const prior = samples.length - trained.length;
  return [
    plural(trained.length, 'image'),
    visits === trained.length ? '' : `, ${visits} with repeats`,
    prior > 0 ? `, and ${plural(prior, 'prior image')}` : '',
    data.triggerWord === null ? '' : `; trigger word "${data.triggerWord}"`,
  ].join('');
}

/**
 * The header of a run.
 * @throws UserError where the base or the data set is unfit at first sight
 */
export async function runHeader(config: UnsizedConfig): Promise<string> {
  const { threads } = config.device;
  const device = await executorText(config);
  const { output } = config;
  return facts([
    ...(await baseFacts(config)),
    ['data', await dataText(config)],
    ['adapter', adapterText(config.lora)],
    ['length', lengthText(config.train)],
    ['learning rate', ratesText(config)],
    ['device', threads === null ? device : `${device}, ${plural(threads, 'thread')}`],
    ['output', shownPath(join(output.dir, finalFileName(output.name)))],
    config.log.level === 'silent' ? null : ['log', shownPath(config.log.file)],
  ]);
}
