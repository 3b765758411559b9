/**
 * @file Measures how well the embedded base model follows prompts: samples 200 fixed prompts, reads
 * colour, shape and background off the pictures, and draws a grid of prompts by seeds.
 */

import { parseArgs } from 'node:util';
import { createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { openSd1Checkpoint } from '../../src/models/sd1/checkpoint.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { stableDiffusionSchedule } from '../../src/train/noise-schedule.ts';
import { renderContactSheet } from '../../src/train/pictures/contact-sheet.ts';
import { PreviewSampler } from '../../src/train/previews.ts';
import { writeFileAtomic } from '../../src/weights/atomic-write.ts';
import { openSafetensors } from '../../src/weights/safetensors-file.ts';
import { readScene } from '../drawing/read-scene.ts';
import { captionOf, sampleScene } from '../drawing/scene.ts';
import { baseSide } from './base-sizes.ts';

const { values: options } = parseArgs({
  options: {
    base: { type: 'string', default: 'models/Stable-diffusion/sdl-tiny-v1.safetensors' },
    prompts: { type: 'string', default: '200' },
    steps: { type: 'string', default: '20' },
    guidance: { type: 'string', default: '4' },
    grid: { type: 'string', default: 'docs/pictures/base-model.png' },
  },
});

const gridPrompts = [
  'a big red circle in the centre, white background',
  'a small blue star on the left, light green background',
  'a big yellow heart on the right, dark blue background',
  'a purple triangle at the bottom on a beige background',
  'a small green ring at the top, pink background',
  'a big orange cross in the middle, grey background',
];
const gridSeeds = [1, 2, 3, 4];

const file = await openSafetensors(options.base);
const checkpoint = openSd1Checkpoint(file);
const executor = createOnnxExecutor({ parameters: checkpoint });
const sampler = new PreviewSampler({
  executor,
  model: { ...checkpoint, predictionType: 'epsilon' },
  layouts: [],
  schedule: stableDiffusionSchedule(),
  text: { tokenizer: createClipTokenizer(), maxTokens: 75, clipSkip: 1 },
  sampler: 'euler_a',
  steps: Number(options.steps),
  guidanceScale: Number(options.guidance),
  width: baseSide,
  height: baseSide,
});

const right = { colour: 0, shape: 0, 'colour and shape': 0, background: 0 };
const prompts = Number(options.prompts);
for (let i = 0; i < prompts; i++) {
  const rng = new Rng(2026, 'evaluation', 0, i);
  const scene = sampleScene(rng);
  const prompt = captionOf(scene, rng);
  const { width, height, rgb } = await sampler.sample({ prompt, negativePrompt: '', seed: i });
  const { object, background } = readScene({ width, height, data: rgb });
  const colour = object?.color === scene.color;
  const shape = object?.shape === scene.shape;
  if (colour) right.colour++;
  if (shape) right.shape++;
  if (colour && shape) right['colour and shape']++;
  // A caption that does not name the background leaves it open.
  if (background === scene.background || !prompt.includes(scene.background)) right.background++;
}
for (const [what, count] of Object.entries(right)) {
  process.stdout.write(
    `${what}: ${count} of ${prompts} (${((100 * count) / prompts).toFixed(1)} %)\n`,
  );
}
const rows = [];
for (const seed of gridSeeds) {
  const images = [];
  for (const prompt of gridPrompts)
    images.push(await sampler.sample({ prompt, negativePrompt: '', seed }));
  rows.push({ label: `seed ${seed}`, images });
}
await writeFileAtomic(options.grid, await renderContactSheet({ rows, columns: gridPrompts }));
process.stdout.write(`${options.grid}\n`);
await executor.dispose();
file.close();
