/** @file The trained autoencoder's weights, turned so that its latents are standard normal when scaled. */

import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import { latentScale } from '../../src/models/vae.ts';
import type { ParameterSource } from '../../src/runtime/executor.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { baseSizes } from './base-sizes.ts';
import { FlatWeights } from './flat-weights.ts';

const latentChannels = 4;

/** Mean and standard deviation of each channel of the latents as trained. */
export interface LatentStatistics {
  readonly means: readonly number[];
  readonly deviations: readonly number[];
}

/** The weights of the autoencoder by full name. */
export async function readTrainedVae(statePath: string): Promise<Map<string, Float32Array>> {
  const shapes = [...sd1TensorShapes(baseSizes)].filter(([name]) => name.startsWith('vae.'));
  const flat = new FlatWeights(shapes);
  const file = await openSafetensors(statePath);
  const average = await file.readF32('average');
  await file.close();
  return new Map(shapes.map(([name]) => [name, flat.view(average, name).slice()]));
}

/** Weights as a source of parameters. */
export function sourceOf(weights: ReadonlyMap<string, Float32Array>): ParameterSource {
  return {
    read: (name) => {
      const values = weights.get(name);
      if (!values) throw new Error(`internal: no weight ${name}`);
      return values;
    },
  };
}

/**
 * Scales and shifts the last layer of the encoder and the first of the decoder, both 1x1, so that
 * latents times 0.18215 have mean 0 and variance 1 in each channel, as the UNet expects.
 */
export function standardizeLatents(
  weights: Map<string, Float32Array>,
  { means, deviations }: LatentStatistics,
): void {
  const quant = weights.get('vae.quant_conv.weight')!;
  const quantBias = weights.get('vae.quant_conv.bias')!;
  const post = weights.get('vae.post_quant_conv.weight')!;
  const postBias = weights.get('vae.post_quant_conv.bias')!;
  for (let c = 0; c < latentChannels; c++) {
    const factor = 1 / (deviations[c]! * latentScale);
    for (let i = 0; i < 2 * latentChannels; i++) quant[c * 2 * latentChannels + i]! *= factor;
    quantBias[c] = (quantBias[c]! - means[c]!) * factor;
    quantBias[latentChannels + c]! += 2 * Math.log(factor);
    for (let o = 0; o < latentChannels; o++) {
      postBias[o]! += post[o * latentChannels + c]! * means[c]!;
      post[o * latentChannels + c]! /= factor;
    }
  }
}
