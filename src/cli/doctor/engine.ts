/** @file The engine and the libraries: whether each loads, and the providers that ONNX Runtime has. */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Finding, reasonOf } from './finding.ts';

/** Where onnxruntime-node's install script puts the provider that it downloads. */
function cudaProvider(): boolean {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  const folder = join(dirname(dirname(entry)), 'bin', 'napi-v6', process.platform, process.arch);
  return existsSync(join(folder, 'libonnxruntime_providers_cuda.so'));
}

const howToGetCuda =
  'for an NVIDIA GPU (Linux x64, CUDA 12 and cuDNN 9), once: ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node --foreground-scripts';

/** ONNX Runtime's version and providers. */
export async function onnxFindings(): Promise<Finding[]> {
  const reinstall = 'run npm install again; Alpine Linux (musl) cannot run it';
  try {
    const { env, listSupportedBackends } = await import('onnxruntime-node');
    const providers = listSupportedBackends().filter(({ bundled }) => bundled);
    const names = providers.map(({ name }) => name);
    const hasCuda = cudaProvider();
    const canHaveCuda = process.platform === 'linux' && process.arch === 'x64';
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
      ...(canHaveCuda ? [cuda] : []),
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
