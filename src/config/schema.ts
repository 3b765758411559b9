/**
 * @file What a configuration file may hold: the one source of its names, types, limits, defaults and
 * help texts. The types, the editors' JSON Schema and docs/configuration.md follow from it.
 */

import { z } from 'zod';
import { deviceSection } from './device-section.ts';
import { hubSection } from './hub-section.ts';

/** Largest seed, as web UIs have it: 32 bits. */
const maxSeed = 2 ** 32 - 1;

/** File systems allow 255, and a step and an extension are added. */
const maxNameBytes = 200;

const text = () => z.string().min(1);
const count = (max?: number) => (max ? z.int().min(1).max(max) : z.int().min(1));
const seed = () => z.int().min(0).max(maxSeed);
const side = () => z.int().min(8).max(4096);

const outputSection = z.strictObject({
  dir: text()
    .nullable()
    .default(null)
    .describe(
      "Folder of the finished adapter. Default: models/Lora, or the web UI's models/Lora where `webui` is given.",
    ),
  name: z
    .string()
    .regex(
      /^(?![.{\s])[^:<>,/\\|?*"\p{Cc}]*[^:<>,/\\|?*"\p{Cc}.\s]$/u,
      'a file name without extension: no : < > , / \\ | ? * " in it, no dot or { at its start, no dot or space at its end',
    )
    .refine((name) => Buffer.byteLength(name) <= maxNameBytes, `at most ${maxNameBytes} bytes`)
    .describe(
      "The adapter's file name without extension, and its name in a prompt: <lora:name:1>.",
    ),
  precision: z
    .enum(['f16', 'bf16', 'f32'])
    .default('f16')
    .describe(
      "Number format of the adapter's file. Web UIs expect f16. The adapter is trained in f32.",
    ),
  format: z
    .enum(['kohya', 'diffusers', 'peft'])
    .default('kohya')
    .describe(
      "Names of the tensors: kohya's, which web UIs load, or those of diffusers or PEFT. `sdl-train convert` changes them later.",
    ),
  saveEverySteps: count()
    .nullable()
    .default(null)
    .describe('Also save the adapter after every so many steps, as name-step00000100.safetensors.'),
  saveEveryEpochs: count()
    .nullable()
    .default(null)
    .describe('Also save the adapter after every so many epochs, as name-000002.safetensors.'),
  keepLast: count()
    .nullable()
    .default(null)
    .describe('Keep only so many of these intermediate files, the newest. Default: all.'),
  saveStateEverySeconds: z
    .number()
    .min(0)
    .default(30)
    .describe(
      'Seconds of training that a killed run loses at most: how often the state is written that the same command goes on from. 0: after each step.',
    ),
  description: text()
    .nullable()
    .default(null)
    .describe('A sentence on what the adapter shows, written into its metadata.'),
  author: text().nullable().default(null).describe('Your name, written into the metadata.'),
});

const loraSection = z.strictObject({
  rank: count(1024)
    .default(16)
    .describe(
      'Size r of the A and B matrices. More learns finer detail, and makes a larger file that overfits sooner. Usual: 4 to 32.',
    ),
  alpha: z
    .number()
    .gt(0)
    .max(4096)
    .nullable()
    .default(null)
    .describe(
      'The learned change is scaled by alpha / rank. Default: rank, a scale of 1. Half the rank trains more gently.',
    ),
  unet: z.boolean().default(true).describe('Train adapters in the UNet, which draws.'),
  textEncoder: z
    .boolean()
    .default(true)
    .describe(
      'Train adapters in the text encoder, which reads the prompt. It helps a new trigger word.',
    ),
  convRank: count(1024)
    .nullable()
    .default(null)
    .describe(
      'Rank of adapters for the 3×3 convolutions too (LoCon). Default: none. Styles profit the most.',
    ),
  convAlpha: z
    .number()
    .gt(0)
    .max(4096)
    .default(1)
    .describe('As alpha, for the convolutions of convRank.'),
});

const folderEntry = z.strictObject({
  path: text().describe('Folder of images, each with a caption file of the same name beside it.'),
  repeats: count(100_000)
    .nullable()
    .default(null)
    .describe(
      'How often an epoch shows each image. Default: N of a folder named N_name (10_zibbo), otherwise 1.',
    ),
  prior: z
    .boolean()
    .default(false)
    .describe(
      'Images of the general class, which keep the base from forgetting it; their loss counts train.priorLossWeight.',
    ),
  triggerWord: text()
    .nullable()
    .default(null)
    .describe(
      'Put before each caption of this folder. Default: data.triggerWord; never for prior folders.',
    ),
  caption: text()
    .nullable()
    .default(null)
    .describe('Caption of the images that have no caption file.'),
});

const bucketsSection = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe(
      'Keep the aspect ratio of each image; off, each is cropped to the shape of data.resolution.',
    ),
  step: z
    .int()
    .min(8)
    .max(512)
    .multipleOf(8)
    .default(64)
    .describe('Sides of the training pictures are multiples of so many pixels. SD 1.x wants 64.'),
  minSide: side()
    .nullable()
    .default(null)
    .describe('Shortest side of a bucket, in pixels. Default: half the side of data.resolution.'),
  maxSide: side()
    .nullable()
    .default(null)
    .describe('Longest side of a bucket, in pixels. Default: twice the side of data.resolution.'),
  upscale: z
    .boolean()
    .default(true)
    .describe('Enlarge images that are smaller than their bucket; off, they get a smaller bucket.'),
});

const dataSection = z.strictObject({
  folders: z.array(folderEntry).min(1).describe('The folders of images to learn from.'),
  resolution: z
    .union([side(), z.tuple([side(), side()])])
    .nullable()
    .default(null)
    .describe(
      'Area of a training picture: one side of a square in pixels, or [width, height]. Default: as the base was made (SD 1.x 512, SD 2.x 512 or 768, SDXL 1024); 512 where nothing tells.',
    ),
  buckets: bucketsSection
    .prefault({})
    .describe('Groups of equal aspect ratio, so that few pixels are cropped.'),
  captionExtensions: z
    .array(z.string().regex(/^\.[^./\\\s]+$/, 'an extension with its dot, such as .txt'))
    .min(1)
    .default(['.txt', '.caption'])
    .describe('Extensions of caption files; the first that exists is read.'),
  triggerWord: text()
    .nullable()
    .default(null)
    .describe(
      'The word that is to call up the concept, put before each caption that does not hold it. Choose one that the base does not know.',
    ),
  shuffleTags: z
    .boolean()
    .default(false)
    .describe(
      'Mix the order of the tags of a caption each time. For lists of tags, not for sentences.',
    ),
  keepTokens: z
    .int()
    .min(0)
    .max(1000)
    .default(0)
    .describe('So many tags stay in front when shuffling. 1 keeps the trigger word first.'),
  captionSeparator: text().default(',').describe('What stands between two tags.'),
  captionVariants: count(1000)
    .default(16)
    .describe(
      'With a text encoder that is not trained: how many shuffles of each caption are encoded before the first step, for the visits to take from.',
    ),
  emphasis: z
    .boolean()
    .default(false)
    .describe(
      "Read (word), [word] and (word:1.3) in captions as weights of words, as AUTOMATIC1111's web UI does; what brackets hold is shuffled as one tag. Off, brackets are text.",
    ),
  captionDropout: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Share of captions that are replaced by nothing, from 0 to 1. Usual: 0 to 0.1.'),
  flip: z
    .boolean()
    .default(false)
    .describe('Also show images mirrored. Not for faces with a parting, or for writing.'),
  cacheDir: text()
    .nullable()
    .default(null)
    .describe(
      'Folder of the encoded images, kept so that the next run starts at once. Default: .sdl-train/<name>/cache in output.dir.',
    ),
});

const trainSection = z.strictObject({
  steps: count()
    .nullable()
    .default(null)
    .describe('Length of the run in optimizer steps. Give steps or epochs.'),
  epochs: count(100_000)
    .nullable()
    .default(null)
    .describe('Length of the run in passes over all images × repeats. Give steps or epochs.'),
  batchSize: count(1024)
    .default(1)
    .describe(
      'Images in one pass through the network. Memory grows with it; a batch that the device has no memory for is cut into smaller parts, which changes the result by rounding alone.',
    ),
  gradientAccumulationSteps: count(4096)
    .default(1)
    .describe(
      'Batches whose gradients are averaged into one step: a larger batch without its memory.',
    ),
  learningRate: z
    .number()
    .gt(0)
    .max(1)
    .default(1e-4)
    .describe('How far each step goes. Usual for an adapter: 1e-4 to 5e-4.'),
  unetLearningRate: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('Learning rate of the UNet alone. Default: learningRate.'),
  textEncoderLearningRate: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      'Learning rate of the text encoder alone. Default: half of learningRate, as it overfits sooner.',
    ),
  lrSchedule: z
    .enum(['constant', 'linear', 'cosine', 'cosine_with_restarts'])
    .default('constant')
    .describe(
      'How the learning rate falls: not at all, in a line to 0, as half a cosine, or as several.',
    ),
  warmupSteps: z
    .int()
    .min(0)
    .default(0)
    .describe('The learning rate rises from 0 over so many steps at the start.'),
  restarts: count(1000)
    .default(1)
    .describe('How many times cosine_with_restarts falls from the top.'),
  beta1: z.number().min(0).lt(1).default(0.9).describe("AdamW's decay of the mean gradient."),
  beta2: z
    .number()
    .min(0)
    .lt(1)
    .default(0.999)
    .describe("AdamW's decay of the mean squared gradient."),
  epsilon: z
    .number()
    .gt(0)
    .max(1)
    .default(1e-8)
    .describe("AdamW's guard against division by zero."),
  weightDecay: z
    .number()
    .min(0)
    .max(1)
    .default(0.01)
    .describe('How strongly AdamW pulls the adapter towards zero.'),
  maxGradNorm: z
    .number()
    .min(0)
    .default(1)
    .describe('Gradients longer than this are shortened to it. 0: never.'),
  minSnrGamma: z
    .number()
    .gt(0)
    .nullable()
    .default(null)
    .describe(
      'Weigh easy timesteps down by min(SNR, gamma) / SNR (Hang et al. 2023). Usual: 5. Default: all alike.',
    ),
  debiasedEstimation: z
    .boolean()
    .default(false)
    .describe(
      'Weigh timesteps by 1 / √SNR, with SNRs above 1000 as 1000 (Yu et al. 2023), or by 1 / (SNR + 1) where the velocity is predicted. Instead of minSnrGamma.',
    ),
  noiseOffset: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      'Shift the noise of each channel a little, for darker and lighter pictures. Usual: 0 to 0.1.',
    ),
  priorLossWeight: z
    .number()
    .min(0)
    .max(100)
    .default(1)
    .describe('Weight of the images in prior folders in the loss.'),
  minTimestep: z.int().min(0).max(999).default(0).describe('Lowest timestep that is trained.'),
  maxTimestep: z
    .int()
    .min(1)
    .max(1000)
    .default(1000)
    .describe('Timesteps below this one are trained.'),
  predictionType: z
    .enum(['epsilon', 'v_prediction'])
    .nullable()
    .default(null)
    .describe(
      'What the UNet predicts: the noise, or the velocity. Default: found from the base itself.',
    ),
  zeroTerminalSnr: z
    .boolean()
    .nullable()
    .default(null)
    .describe(
      'Stretch the noise so that nothing of a picture is left at the last timestep. Default: as the base was made, where it says so.',
    ),
  clipSkip: z
    .int()
    .min(1)
    .max(12)
    .nullable()
    .default(null)
    .describe(
      "Which of the text encoder's layers is read, counted from the last. Default: 1, or what the base's metadata say. 2 for most SD 1.x anime models; SD 2.x and SDXL have no choice.",
    ),
  maxTokens: z
    .literal([75, 150, 225])
    .default(225)
    .describe(
      'Longest caption in tokens; what is beyond is cut. Read in parts of 75, as web UIs do.',
    ),
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .describe('Compute parts of the network twice and keep less in memory: slower, smaller.'),
  seed: seed()
    .default(42)
    .describe('Start of all random numbers: the same seed and files give the same adapter.'),
});

const promptEntry = z.strictObject({
  prompt: text().describe('What to draw.'),
  negativePrompt: z.string().default('').describe('What to stay away from.'),
  seed: seed()
    .nullable()
    .default(null)
    .describe('Draw from this seed only. Default: each of preview.seeds.'),
});

const previewSection = z.strictObject({
  enabled: z
    .boolean()
    .nullable()
    .default(null)
    .describe('Draw previews. Default: where there are prompts.'),
  prompts: z
    .array(z.union([text(), promptEntry]))
    .default([])
    .describe(
      'What to draw: texts, or entries with prompt, negativePrompt and seed. Brackets such as (word:1.3) always weigh words, as in web UIs; \\( is a bracket.',
    ),
  everySteps: count()
    .nullable()
    .default(null)
    .describe('Draw after every so many steps. Default: only before and after.'),
  before: z
    .boolean()
    .default(true)
    .describe('Draw before the first step: what the base does alone.'),
  after: z.boolean().default(true).describe('Draw after the last step.'),
  sampler: z.enum(['ddim', 'euler_a']).default('ddim').describe('Sampler, as named in web UIs.'),
  steps: count(1000).default(20).describe("The sampler's steps."),
  guidanceScale: z
    .number()
    .min(1)
    .max(50)
    .default(7.5)
    .describe('Strength of the prompt (CFG scale). 1: without guidance.'),
  width: side().nullable().default(null).describe('Width in pixels. Default: as data.resolution.'),
  height: side()
    .nullable()
    .default(null)
    .describe('Height in pixels. Default: as data.resolution.'),
  seeds: z
    .array(seed())
    .min(1)
    .default([1])
    .describe('Each prompt is drawn from each of these seeds.'),
});

const logSection = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least important kind of message that is logged.'),
  file: text()
    .nullable()
    .default(null)
    .describe(
      'Log file, one JSON object a line. Default: .sdl-train/<name>/log.jsonl in output.dir.',
    ),
});

/** A configuration file's content. Sections that are left out are filled in before it is parsed. */
export const fileSchema = z.strictObject({
  base: text().describe(
    "The base model: a .safetensors checkpoint, or a folder of diffusers. With `webui`, a bare file name is looked up in the web UI's models/Stable-diffusion. A model on the Hugging Face hub, which is downloaded once: owner/name, owner/name@revision, or its address.",
  ),
  vae: text()
    .nullable()
    .default(null)
    .describe(
      "Another VAE than the checkpoint's own. With `webui`, a bare file name is looked up in the web UI's models/VAE.",
    ),
  webui: text()
    .nullable()
    .default(null)
    .describe(
      'Root folder of a web UI (AUTOMATIC1111, Forge): its models are found, and the adapter goes there.',
    ),
  hub: hubSection.prefault({}).describe('How a base on the Hugging Face hub is got.'),
  output: outputSection.describe('What is written, and where.'),
  lora: loraSection.prefault({}).describe('The adapter that is trained.'),
  data: dataSection.describe('What it learns from.'),
  train: trainSection.describe('How it is trained: AdamW on the denoising loss.'),
  preview: previewSection
    .prefault({})
    .describe('Pictures drawn during the run, as one contact sheet.'),
  device: deviceSection.prefault({}).describe('What computes.'),
  log: logSection.prefault({}).describe('What is logged, and where.'),
});

/** The sections of a file, for those that are left out or left empty. */
export const sectionNames = [
  'hub',
  'output',
  'lora',
  'data',
  'train',
  'preview',
  'device',
  'log',
] as const;

/** A parsed file: defaults filled in, `null` where a default depends on other values. */
export type FileConfig = z.output<typeof fileSchema>;
