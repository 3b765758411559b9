/** @file The encoded pictures, with the scenes that they show. */

import { Rng } from '../../src/tensor/rng.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { type Scene, sampleScene } from '../drawing/scene.ts';
import type { LatentStatistics } from './trained-vae.ts';

const latentChannels = 4;

export interface LatentPool {
  readonly scenes: readonly Scene[];
  readonly statistics: LatentStatistics;
  /** Elements of one picture's latents, [4, h, w]. */
  readonly size: number;
  /** Draws the latents of a picture, standardised, into `out` at `offset`. */
  draw(index: number, rng: Rng, out: Float32Array, offset: number): void;
}

/** Mean and deviation of each channel over all pictures. */
function statisticsOf(moments: Float32Array, pictures: number, area: number): LatentStatistics {
  const means: number[] = [];
  const deviations: number[] = [];
  for (let c = 0; c < latentChannels; c++) {
    let sum = 0;
    let squares = 0;
    for (let n = 0; n < pictures; n++) {
      const mean = (n * 2 * latentChannels + c) * area;
      const logVariance = mean + latentChannels * area;
      for (let i = 0; i < area; i++) {
        const value = moments[mean + i]!;
        sum += value;
        squares += value * value + Math.exp(moments[logVariance + i]!);
      }
    }
    const mean = sum / pictures / area;
    means.push(mean);
    deviations.push(Math.sqrt(squares / pictures / area - mean * mean));
  }
  return { means, deviations };
}

/** Reads what `encode-pool` wrote. */
export async function readLatentPool(path: string): Promise<LatentPool> {
  const file = await openSafetensors(path);
  const [pictures, , height, width] = file.entries.get('moments')!.shape as [
    number,
    number,
    number,
    number,
  ];
  const moments = await file.readF32('moments');
  const seed = Number(file.metadata.get('seed'));
  await file.close();
  const area = height * width;
  const size = latentChannels * area;
  const statistics = statisticsOf(moments, pictures, area);
  const scenes = Array.from({ length: pictures }, (_, i) =>
    sampleScene(new Rng(seed, 'pool', 0, i)),
  );
  return {
    scenes,
    statistics,
    size,
    draw: (index, rng, out, offset) => {
      const start = index * 2 * size;
      for (let i = 0; i < size; i++) {
        const c = Math.floor(i / area);
        const deviation = Math.exp(0.5 * moments[start + size + i]!);
        const value = moments[start + i]! + deviation * rng.normal();
        out[offset + i] = (value - statistics.means[c]!) / statistics.deviations[c]!;
      }
    },
  };
}
