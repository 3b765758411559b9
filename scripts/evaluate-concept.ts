/**
 * @file Measures what an adapter has learnt: the denoising loss on pictures of the concept that were
 * not trained on, with the adapter and without, how often a judge sees the concept in pictures
 * that are sampled with the trigger word and without it, and whether other prompts still get what
 * they ask for.
 */

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { prepareSamples } from '../src/data/prepare-samples.ts';
import { readImage } from '../src/data/read-image.ts';
import { scanDataset } from '../src/data/scan-folder.ts';
import { GraphBuilder } from '../src/graph/graph-builder.ts';
import { loraAdapter } from '../src/lora/lora-adapter.ts';
import { loraLayout } from '../src/lora/lora-layout.ts';
import { loraValues } from '../src/lora/lora-modules.ts';
import { targetModules } from '../src/lora/target-modules.ts';
import { textContext } from '../src/models/clip-text-model.ts';
import { createClipTokenizer } from '../src/models/clip-tokenizer.ts';
import { networkScope } from '../src/models/layers.ts';
import { openSd1Checkpoint } from '../src/models/sd1/checkpoint.ts';
import { unetHeads } from '../src/models/sd1/sizes.ts';
import { timestepEmbedding } from '../src/models/timestep-embedding.ts';
import { unet } from '../src/models/unet.ts';
import { latentScale, vaeEncoder } from '../src/models/vae.ts';
import { createOnnxExecutor } from '../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../src/tensor/rng.ts';
import { f32 } from '../src/tensor/tensor.ts';
import { diffusionLoss, lossInputs, lossTarget, noisyLatents } from '../src/train/loss.ts';
import { coefficientTensors, stableDiffusionSchedule } from '../src/train/noise-schedule.ts';
import { renderContactSheet } from '../src/train/pictures/contact-sheet.ts';
import { type PreviewImage, PreviewSampler } from '../src/train/previews.ts';
import { sampleLatents } from '../src/train/sample-latents.ts';
import { tokenizeBatch } from '../src/train/text-encoding.ts';
import { writeFileAtomic } from '../src/weights/atomic-write.ts';
import { openSafetensors } from '../src/weights/safetensors-file.ts';

import { concepts } from './drawing/concepts.ts';
import { conceptPresent } from './drawing/read-concept.ts';
import { readScene } from './drawing/read-scene.ts';
import { captionOf, sampleScene } from './drawing/scene.ts';

const { values: options } = parseArgs({
  options: {
    base: { type: 'string', default: 'models/Stable-diffusion/sdl-tiny-v1.safetensors' },
    adapter: { type: 'string', default: 'models/Lora/zibbo.safetensors' },
    concept: { type: 'string', default: 'character' },
    pictures: { type: 'string', default: '24' },
    sheet: { type: 'string' },
  },
});
const conceptName = options.concept as keyof typeof concepts;
const concept = concepts[conceptName];

/** Timesteps at which the loss is taken, the same for every picture. */
const probes = [50, 150, 250, 350, 450, 550, 650, 750, 850, 950];

const file = await openSafetensors(options.base);
const checkpoint = openSd1Checkpoint(file);
const executor = createOnnxExecutor({ parameters: checkpoint });
const model = { ...checkpoint, predictionType: 'epsilon' } as const;
const schedule = stableDiffusionSchedule();
const text = { tokenizer: createClipTokenizer(), maxTokens: 75, clipSkip: 1 };

/** The adapter's factors as variables; their shapes tell ranks and targets. */
async function loadAdapter() {
  const adapter = await openSafetensors(options.adapter);
  const names = [...adapter.entries.keys()].flatMap((key) => /^(.+)\.alpha$/.exec(key)?.[1] ?? []);
  const tensors = await Promise.all(
    names.map(async (name) => {
      const factor = async (part: string) => {
        const key = `${name}.${part}.weight`;
        return f32(adapter.entries.get(key)!.shape, await adapter.readF32(key));
      };
      const [alpha] = await adapter.readF32(`${name}.alpha`);
      return { name, down: await factor('lora_down'), up: await factor('lora_up'), alpha: alpha! };
    }),
  );
  adapter.close();
  const known = new Set(names);
  const modules = targetModules(checkpoint, { convolutions: true }).filter(({ name }) =>
    known.has(name),
  );
  const first = tensors.find(({ down }) => down.shape.length === 2) ?? tensors[0]!;
  const kernel = tensors.find(({ down }) => (down.shape[2] ?? 1) > 1);
  const ranks = {
    rank: first.down.shape[0]!,
    alpha: first.alpha,
    convRank: kernel?.down.shape[0],
    convAlpha: kernel?.alpha,
  };
  const layouts = (['unet', 'text_encoder'] as const)
    .map((group) => loraLayout(group, modules, ranks))
    .filter(({ size }) => size > 0);
  for (const layout of layouts) {
    executor.writeVariable(
      layout.variable,
      f32([layout.size], loraValues(layout, tensors, options.adapter)),
    );
  }
  return layouts;
}

const layouts = await loadAdapter();

const { samples } = await scanDataset([{ path: `datasets/held-out/${conceptName}` }], {
  captionExtensions: ['.txt'],
  triggerWord: concept.trigger,
});

/** Mean loss over all pictures and timesteps, with the adapter's strength as given. */
async function heldOutLoss(multiplier: number): Promise<number> {
  const { prepared } = await prepareSamples(samples, {
    resolution: 128,
    enabled: true,
    step: 32,
    minSide: 64,
    maxSide: 192,
    upscale: true,
  });
  let total = 0;
  for (const [i, { path, caption, fit }] of prepared.entries()) {
    const { width, height } = fit.bucket;
    const g = new GraphBuilder();
    const moments = vaeEncoder(
      networkScope(g, model.shapes, 'vae'),
      g.input('image', [1, 3, height, width]),
    );
    const encode = await executor.compile(g.build({ moments }));
    const image = await readImage(path, { width, height });
    const encoded = await encode.run({ image: f32([1, 3, height, width], image.data) });
    await encode.dispose();
    const latents = sampleLatents(
      f32(encoded['moments']!.shape, encoded['moments']!.data as Float32Array),
      null,
      latentScale,
    );

    const n = probes.length;
    const shape = [n, ...latents.shape.slice(1)];
    const b = new GraphBuilder();
    const adapter = loraAdapter(b, layouts, { multiplier });
    const inputs = lossInputs(b, shape);
    const ids = tokenizeBatch(Array(n).fill(caption), text);
    const context = textContext(
      networkScope(b, model.shapes, 'text_encoder', { adapter }),
      b.input('ids', ids.shape, 'i32'),
    );
    const channels = checkpoint.sizes.unet.channels[0]!;
    const timeProj = b.input('timeProj', [n, channels]);
    const scope = networkScope(b, model.shapes, 'unet', { adapter });
    const prediction = unet(
      scope,
      { latents: noisyLatents(b, inputs), timeProj, context },
      { heads: () => unetHeads },
    );
    const { loss } = diffusionLoss(b, prediction, lossTarget(b, inputs, 'epsilon'), inputs.weight);
    const executable = await executor.compile(b.build({ loss }));
    const repeated = new Float32Array(n * latents.data.length);
    for (let k = 0; k < n; k++) repeated.set(latents.data, k * latents.data.length);
    const out = await executable.run({
      latents: f32(shape, repeated),
      noise: f32(shape, new Rng(31, 'held-out', 0, i).normals(repeated.length)),
      weight: f32([n], Array(n).fill(1)),
      timeProj: timestepEmbedding(probes, channels),
      ids,
      ...coefficientTensors(schedule, probes),
    });
    await executable.dispose();
    total += Number(out['loss']!.data[0]);
  }
  return total / prepared.length;
}

const settings = {
  executor,
  model,
  schedule,
  text,
  sampler: 'euler_a',
  steps: 20,
  guidanceScale: 5,
  width: 128,
  height: 128,
} as const;
const plain = new PreviewSampler({ ...settings, layouts: [] });
const adapted = new PreviewSampler({ ...settings, layouts });
const pictures = Number(options.pictures);

/** What the base knows, in words without the trigger. */
const plainScenes = Array.from({ length: pictures }, (_, i) => {
  const rng = new Rng(77, 'without', 0, i);
  const scene = sampleScene(rng);
  return { scene, prompt: captionOf(scene, rng) };
});
const plainPrompts = plainScenes.map(({ prompt }) => prompt);

/** How many pictures of `plainPrompts` have the thing, its colour and the background that were asked for. */
function asAsked(images: readonly PreviewImage[]): number {
  return images.filter(({ width, height, rgb }, i) => {
    const { scene, prompt } = plainScenes[i]!;
    const { object, background } = readScene({ width, height, data: rgb });
    // A caption that does not name the background leaves it open.
    const rightPlace = background === scene.background || !prompt.includes(scene.background);
    return rightPlace && object?.color === scene.color && object.shape === scene.shape;
  }).length;
}

async function presence(sampler: PreviewSampler, prompts: readonly string[]) {
  const images = [];
  let seen = 0;
  for (const [seed, prompt] of prompts.entries()) {
    const image = await sampler.sample({ prompt, negativePrompt: '', seed });
    images.push(image);
    if (concept.read({ ...image, data: image.rgb }) >= conceptPresent) seen++;
  }
  return { seen, images };
}

const [without, withAdapter] = [await heldOutLoss(0), await heldOutLoss(1)];
process.stdout.write(
  `held-out loss: base ${without.toFixed(4)}, with the LoRA ${withAdapter.toFixed(4)} (${(100 * (1 - withAdapter / without)).toFixed(1)} % lower)\n`,
);
const trigger = Array.from({ length: pictures }, (_, i) => samples[i % samples.length]!.caption);
const rows = [
  { label: 'base, with the trigger word', ...(await presence(plain, trigger)) },
  { label: 'LoRA, with the trigger word', ...(await presence(adapted, trigger)) },
  { label: 'LoRA, without it', ...(await presence(adapted, plainPrompts)) },
  { label: 'base, without it', ...(await presence(plain, plainPrompts)) },
];
for (const { label, seen } of rows)
  process.stdout.write(`${label}: concept seen in ${seen} of ${pictures} pictures\n`);
const [ofLora, ofBase] = rows.slice(2).map(({ images }) => asAsked(images));
process.stdout.write(
  `drawn as asked without it: LoRA ${ofLora}, base ${ofBase} of ${pictures} pictures\n`,
);
if (options.sheet) {
  await mkdir(dirname(options.sheet), { recursive: true });
  const sheet = await renderContactSheet({
    rows: rows.map(({ label, images }) => ({ label, images: images.slice(0, 6) })),
  });
  await writeFileAtomic(options.sheet, sheet);
}
await executor.dispose();
file.close();
