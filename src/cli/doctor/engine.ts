/** @file The engine and the libraries: whether each loads, and the providers that ONNX Runtime has. */

import { type Finding, reasonOf } from './finding.ts';

/** ONNX Runtime's version and providers. */
export async function onnxFindings(): Promise<Finding[]> {
  const reinstall = 'run npm install again; Alpine Linux (musl) cannot run it';
  try {
    const { env } = await import('onnxruntime-node');
    const { canHaveCuda, howToGetCuda, installedProviders } = await import(
      '../../runtime/onnx/providers.ts'
    );
    const names = installedProviders();
    const hasCuda = names.includes('cuda');
    const cuda: Finding = hasCuda
      ? { verdict: 'good', name: 'CUDA provider', text: 'installed; set device.provider: cuda' }
      : {
          verdict: 'note',
          name: 'CUDA provider',
          text: 'not installed; not needed on the processor',
          advice: howToGetCuda,
        };
    return [
      { verdict: 'good', name: 'ONNX Runtime', text: env.versions.node ?? 'loads' },
      { verdict: 'good', name: 'providers', text: names.join(', ') },
      ...(canHaveCuda() ? [cuda] : []),
    ];
  } catch (error) {
    return [{ verdict: 'bad', name: 'ONNX Runtime', text: reasonOf(error), advice: reinstall }];
  }
}

/** sharp, which decodes images. */
export async function sharpFinding(): Promise<Finding> {
  try {
    const { default: sharp } = await import('sharp');
    const { vips, sharp: version } = sharp.versions;
    return { verdict: 'good', name: 'sharp', text: `${version}, libvips ${vips}` };
  } catch (error) {
    const advice = 'run npm install again, with optional dependencies';
    return { verdict: 'bad', name: 'sharp', text: reasonOf(error), advice };
  }
}

/** CLIP's vocabulary. */
export async function tokenizerFinding(): Promise<Finding> {
  try {
    const { createClipTokenizer } = await import('../../models/clip-tokenizer.ts');
    const tokens = createClipTokenizer().encode('a photo of a cat').length;
    if (tokens !== 5) throw new Error(`"a photo of a cat" is ${tokens} tokens, not 5`);
    return { verdict: 'good', name: 'tokenizer', text: 'CLIP, 49408 tokens, works offline' };
  } catch (error) {
    const advice = 'run npm install again';
    return { verdict: 'bad', name: 'tokenizer', text: reasonOf(error), advice };
  }
}
