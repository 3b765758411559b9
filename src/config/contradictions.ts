/** @file Values that are right one by one and wrong together, or that would have no effect. */

import { readHubId } from './hub-id.ts';
import type { FileConfig } from './schema.ts';

/** Keys that contradict each other. */
export interface Contradiction {
  /** The keys involved, the one to blame first. */
  readonly keys: readonly string[];
  readonly message: string;
}

type Rule = (config: FileConfig) => readonly (Contradiction | false | null)[];

const rule = (keys: readonly string[], message: string): Contradiction => ({ keys, message });

/** A value that differs from its default, but that nothing would read. */
const unused = (key: string, because: string, other: string): Contradiction =>
  rule([key, other], `${key} would have no effect: ${because}`);

const hub: Rule = ({ base, hub: h }) => {
  const id = readHubId(base);
  const isGiven = (['file', 'revision', 'token', 'cacheDir'] as const).filter(
    (key) => h[key] !== null,
  );
  if (id === null) {
    return isGiven.map((key) =>
      unused(`hub.${key}`, 'base is a file, not a model on the hub', 'base'),
    );
  }
  return [
    h.revision !== null &&
      id.revision !== null &&
      h.revision !== id.revision &&
      rule(
        ['hub.revision', 'base'],
        `hub.revision is ${h.revision}, and base names ${id.revision}: keep one`,
      ),
    h.file !== null &&
      id.file !== null &&
      h.file !== id.file &&
      rule(['hub.file', 'base'], `hub.file is ${h.file}, and base names ${id.file}: keep one`),
    h.file !== null &&
      !h.file.endsWith('.safetensors') &&
      rule(['hub.file'], `hub.file: a name that ends with .safetensors is expected`),
  ];
};

const output: Rule = ({ output: o }) => [
  o.keepLast !== null &&
    o.saveEverySteps === null &&
    o.saveEveryEpochs === null &&
    rule(
      ['output.keepLast', 'output.saveEverySteps', 'output.saveEveryEpochs'],
      'output.keepLast needs output.saveEverySteps or output.saveEveryEpochs: without them there is only the finished file',
    ),
];

/** A part's own learning rate: 0 and "not trained" go together. */
const rate = (key: string, value: number | null, part: string, trained: boolean) => [
  value !== null && value > 0 && !trained && unused(key, `${part} is false`, part),
  value === 0 &&
    trained &&
    rule([key, part], `${key} is 0, which trains nothing: set ${part} to false instead`),
];

const lora: Rule = ({ lora: l, train: t }) => [
  !l.unet &&
    !l.textEncoder &&
    rule(
      ['lora.unet', 'lora.textEncoder'],
      'lora.unet and lora.textEncoder are both false: nothing would be trained',
    ),
  l.convRank === null &&
    l.convAlpha !== 1 &&
    unused('lora.convAlpha', 'give lora.convRank too', 'lora.convRank'),
  l.convRank !== null &&
    !l.unet &&
    unused(
      'lora.convRank',
      'the convolutions are in the UNet, and lora.unet is false',
      'lora.unet',
    ),
  ...rate(
    'train.textEncoderLearningRate',
    t.textEncoderLearningRate,
    'lora.textEncoder',
    l.textEncoder,
  ),
  ...rate('train.unetLearningRate', t.unetLearningRate, 'lora.unet', l.unet),
];

/** None where the resolution is the base's. */
function sidesOf(resolution: FileConfig['data']['resolution']): readonly number[] {
  return typeof resolution === 'number' ? [resolution] : (resolution ?? []);
}

function notMultiple(key: string, value: number | null, step: number): Contradiction | null {
  if (value === null || value % step === 0) return null;
  const below = Math.floor(value / step) * step;
  const choices = below > 0 ? `${below} or ${below + step}` : `${below + step}`;
  return rule(
    [key, 'data.buckets.step'],
    `${key}: ${value} is not a multiple of data.buckets.step, ${step}: use ${choices}`,
  );
}

const resolution: Rule = ({ data, preview }) => {
  const { step, minSide, maxSide, enabled } = data.buckets;
  const sides = sidesOf(data.resolution);
  const [short, long] = [Math.min(...sides), Math.max(...sides)];
  return [
    notMultiple('data.resolution', sides.find((side) => side % step !== 0) ?? null, step),
    notMultiple('preview.width', preview.width, step),
    notMultiple('preview.height', preview.height, step),
    enabled && notMultiple('data.buckets.minSide', minSide, step),
    enabled && notMultiple('data.buckets.maxSide', maxSide, step),
    minSide !== null &&
      maxSide !== null &&
      minSide > maxSide &&
      rule(
        ['data.buckets.minSide', 'data.buckets.maxSide'],
        `data.buckets.minSide ${minSide} is above data.buckets.maxSide ${maxSide}`,
      ),
    enabled &&
      minSide !== null &&
      minSide <= (maxSide ?? minSide) &&
      short < minSide &&
      rule(
        ['data.resolution', 'data.buckets.minSide'],
        `data.resolution: ${short} is below data.buckets.minSide, ${minSide}: lower that`,
      ),
    enabled &&
      maxSide !== null &&
      (minSide ?? maxSide) <= maxSide &&
      long > maxSide &&
      rule(
        ['data.resolution', 'data.buckets.maxSide'],
        `data.resolution: ${long} is above data.buckets.maxSide, ${maxSide}: raise that`,
      ),
  ];
};

/** Shuffles are counted where captions are encoded beforehand. */
const usualVariants = 16;

const captions: Rule = ({ data: d, train: t, lora: l }) => [
  d.folders.every((folder) => folder.prior) &&
    rule(
      ['data.folders'],
      'data.folders: all of them are prior: one with what is to be learned is needed',
    ),
  t.priorLossWeight !== 1 &&
    !d.folders.some((folder) => folder.prior) &&
    unused('train.priorLossWeight', 'none of data.folders is prior', 'data.folders'),
  d.keepTokens > 0 &&
    !d.shuffleTags &&
    unused('data.keepTokens', 'data.shuffleTags is false', 'data.shuffleTags'),
  d.captionVariants !== usualVariants &&
    !d.shuffleTags &&
    unused('data.captionVariants', 'data.shuffleTags is false', 'data.shuffleTags'),
  d.captionVariants !== usualVariants &&
    d.shuffleTags &&
    l.textEncoder &&
    unused(
      'data.captionVariants',
      'the text encoder is trained, so that each visit has a shuffle of its own',
      'lora.textEncoder',
    ),
];

const length: Rule = ({ train: t }) => [
  t.steps !== null &&
    t.epochs !== null &&
    rule(
      ['train.steps', 'train.epochs'],
      'train.steps and train.epochs are both given: keep one (--set train.epochs=null takes it back)',
    ),
  t.steps === null &&
    t.epochs === null &&
    rule(
      ['train.steps', 'train.epochs'],
      'train.steps or train.epochs is needed: the length of the run',
    ),
  t.steps !== null &&
    t.warmupSteps >= t.steps &&
    rule(
      ['train.warmupSteps', 'train.steps'],
      `train.warmupSteps ${t.warmupSteps} must be below train.steps, ${t.steps}`,
    ),
  t.restarts > 1 &&
    t.lrSchedule !== 'cosine_with_restarts' &&
    unused('train.restarts', `train.lrSchedule is ${t.lrSchedule}`, 'train.lrSchedule'),
  t.minTimestep >= t.maxTimestep &&
    rule(
      ['train.minTimestep', 'train.maxTimestep'],
      `train.minTimestep ${t.minTimestep} must be below train.maxTimestep, ${t.maxTimestep}`,
    ),
];

const preview: Rule = ({ preview: p }) => [
  p.enabled === true &&
    p.prompts.length === 0 &&
    rule(
      ['preview.enabled', 'preview.prompts'],
      'preview.enabled needs preview.prompts: what to draw',
    ),
  p.everySteps !== null &&
    p.prompts.length === 0 &&
    unused('preview.everySteps', 'preview.prompts is empty', 'preview.prompts'),
];

/** What only libtorch reads. */
const torchDefaults = {
  torchDevice: 'auto',
  precision: 'auto',
  libtorch: null,
  cudaGraphs: true,
  fusedKernels: true,
} as const;
const torchKeys = ['torchDevice', 'precision', 'libtorch', 'cudaGraphs', 'fusedKernels'] as const;

const device: Rule = ({ device: d }) => [
  d.executor !== 'onnx' &&
    d.executor !== 'auto' &&
    d.provider !== 'cpu' &&
    unused('device.provider', `device.executor is ${d.executor}`, 'device.executor'),
  d.executor === 'tfjs' &&
    d.memory !== null &&
    unused('device.memory', 'nothing is known of the memory of TensorFlow.js', 'device.executor'),
  d.executor === 'tfjs' &&
    d.threads !== null &&
    unused('device.threads', 'TensorFlow.js cannot be told', 'device.executor'),
  d.executor !== 'tfjs' &&
    d.tfjsBackend !== 'auto' &&
    unused('device.tfjsBackend', `device.executor is ${d.executor}`, 'device.executor'),
  d.executor === 'auto' &&
    d.provider !== 'cpu' &&
    d.torchDevice !== 'auto' &&
    rule(
      ['device.provider', 'device.torchDevice'],
      'device.provider is for ONNX Runtime and device.torchDevice for libtorch; give one of them',
    ),
  d.executor === 'reference' &&
    d.memory !== null &&
    unused('device.memory', 'nothing is known of the memory of plain loops', 'device.executor'),
  d.provider !== 'cpu' &&
    d.memory !== null &&
    unused(
      'device.memory',
      `nothing is known of the memory of ${d.provider} in ONNX Runtime`,
      'device.provider',
    ),
  ...torchKeys.map(
    (key) =>
      d.executor !== 'torch' &&
      d.executor !== 'auto' &&
      d[key] !== torchDefaults[key] &&
      unused(`device.${key}`, `device.executor is ${d.executor}`, 'device.executor'),
  ),
];

const weights: Rule = ({ train: t }) => [
  t.debiasedEstimation &&
    t.minSnrGamma !== null &&
    rule(
      ['train.debiasedEstimation', 'train.minSnrGamma'],
      'train.debiasedEstimation and train.minSnrGamma both weigh timesteps: keep one (--set train.minSnrGamma=null takes it back)',
    ),
];

/** All contradictions of a parsed file. */
export function findContradictions(config: FileConfig): readonly Contradiction[] {
  return [hub, output, lora, resolution, captions, length, weights, preview, device]
    .flatMap((find) => find(config))
    .filter((found) => found !== null && found !== false);
}
