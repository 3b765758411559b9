/** @file Values that contradict each other, or would have no effect. */

import { expect, test } from 'vitest';
import { contradiction, load, minimal } from './fixture.ts';

const refused: readonly (readonly [string, readonly string[], string])[] = [
  ['steps and epochs', ['train.epochs=3'], 'train.steps and train.epochs are both given'],
  ['no length', ['train.steps=null'], 'train.steps or train.epochs is needed'],
  ['nothing to train', ['lora.unet=false', 'lora.textEncoder=false'], 'nothing would be trained'],
  ['keepLast alone', ['output.keepLast=2'], 'output.keepLast needs output.saveEverySteps'],
  [
    'long warm-up',
    ['train.warmupSteps=100'],
    'train.warmupSteps 100 must be below train.steps, 100',
  ],
  [
    'resolution',
    ['data.resolution=500'],
    '500 is not a multiple of data.buckets.step, 64: use 448 or 512',
  ],
  ['second side', ['data.resolution=[512, 600]'], '600 is not a multiple'],
  ['preview size', ['preview.width=100'], 'preview.width: 100 is not a multiple'],
  ['bucket side', ['data.buckets.minSide=200'], 'data.buckets.minSide: 200 is not a multiple'],
  [
    'bucket sides',
    ['data.buckets.minSide=512', 'data.buckets.maxSide=256'],
    'minSide 512 is above',
  ],
  [
    'small',
    ['data.resolution=128', 'data.buckets.minSide=256'],
    '128 is below data.buckets.minSide, 256: lower that',
  ],
  [
    'large',
    ['data.resolution=1088', 'data.buckets.maxSide=1024'],
    '1088 is above data.buckets.maxSide, 1024: raise that',
  ],
  [
    'text encoder rate',
    ['lora.textEncoder=false', 'train.textEncoderLearningRate=1e-5'],
    'train.textEncoderLearningRate would have no effect: lora.textEncoder is false',
  ],
  ['UNet rate', ['lora.unet=false', 'train.unetLearningRate=1e-5'], 'lora.unet is false'],
  ['rate 0', ['train.textEncoderLearningRate=0'], 'set lora.textEncoder to false instead'],
  ['keepTokens', ['data.keepTokens=1'], 'data.shuffleTags is false'],
  ['convAlpha', ['lora.convAlpha=4'], 'give lora.convRank too'],
  ['convRank', ['lora.unet=false', 'lora.convRank=4'], 'the convolutions are in the UNet'],
  ['priors only', ['data.folders[0].prior=true'], 'all of them are prior'],
  ['prior weight', ['train.priorLossWeight=0.5'], 'none of data.folders is prior'],
  ['restarts', ['train.restarts=3'], 'train.lrSchedule is constant'],
  [
    'timesteps',
    ['train.minTimestep=500', 'train.maxTimestep=500'],
    'must be below train.maxTimestep',
  ],
  [
    'two weights of timesteps',
    ['train.debiasedEstimation=true', 'train.minSnrGamma=5'],
    'train.debiasedEstimation and train.minSnrGamma both weigh timesteps: keep one',
  ],
  ['previews', ['preview.enabled=true'], 'preview.enabled needs preview.prompts'],
  ['preview steps', ['preview.everySteps=5'], 'preview.prompts is empty'],
  ['provider', ['device.executor=reference', 'device.provider=webgpu'], 'executor is reference'],
  ['provider of torch', ['device.executor=torch', 'device.provider=cuda'], 'executor is torch'],
  ['torch device', ['device.executor=onnx', 'device.torchDevice=cpu'], 'device.torchDevice'],
  ['captured graphs', ['device.executor=onnx', 'device.cudaGraphs=false'], 'device.cudaGraphs'],
  ['own kernels', ['device.executor=onnx', 'device.fusedKernels=false'], 'device.fusedKernels'],
  ['two devices', ['device.provider=webgpu', 'device.torchDevice=cuda'], 'give one of them'],
  ['precision', ['device.executor=onnx', 'device.precision=bf16'], 'executor is onnx'],
  [
    'memory of plain loops',
    ['device.executor=reference', 'device.memory=8GB'],
    'nothing is known of the memory of plain loops',
  ],
  [
    'memory of a provider',
    ['device.provider=cuda', 'device.memory=8GB'],
    'nothing is known of the memory of cuda',
  ],
  [
    'memory of TensorFlow.js',
    ['device.executor=tfjs', 'device.memory=8GB'],
    'nothing is known of the memory of TensorFlow.js',
  ],
  ['threads of TensorFlow.js', ['device.executor=tfjs', 'device.threads=2'], 'device.threads'],
  ['provider of tfjs', ['device.executor=tfjs', 'device.provider=cuda'], 'executor is tfjs'],
  ['precision of tfjs', ['device.executor=tfjs', 'device.precision=bf16'], 'executor is tfjs'],
  [
    'back end of tfjs',
    ['device.executor=onnx', 'device.tfjsBackend=wasm'],
    'device.executor is onnx',
  ],
  ['libtorch', ['device.executor=reference', 'device.libtorch=/venv'], 'executor is reference'],
];

test.each(refused)('%s', (_, overrides, message) => {
  expect(contradiction(...overrides)).toContain(message);
});

const allowed: readonly (readonly string[])[] = [
  ['device.memory=auto'],
  ['device.memory=7.5 GiB'],
  ['train.steps=null', 'train.epochs=3', 'train.warmupSteps=500'],
  ['output.keepLast=2', 'output.saveEveryEpochs=1'],
  ['data.resolution=128', 'data.buckets.enabled=false'],
  ['data.resolution=[96, 160]', 'data.buckets.step=32', 'data.buckets.minSide=64'],
  ['data.keepTokens=1', 'data.shuffleTags=true'],
  ['lora.convRank=4', 'lora.convAlpha=2'],
  ['lora.textEncoder=false', 'train.textEncoderLearningRate=0'],
  ['data.folders[1]={path: b, prior: true}', 'train.priorLossWeight=0.5'],
  ['train.lrSchedule=cosine_with_restarts', 'train.restarts=3'],
  ['train.debiasedEstimation=true'],
];

test.each(allowed.map((overrides) => [overrides]))('%s is allowed', (overrides) => {
  expect(() => load(minimal, ...overrides)).not.toThrow();
});
