/**
 * @file Trains the embedded base model's text encoder to tell what a caption says, before the UNet
 * learns from it: as CLIP's was trained on pictures, this one is trained on the scenes behind captions.
 */

import { parseArgs } from 'node:util';
import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { textContext } from '../../src/models/clip-text-model.ts';
import { clipPositions } from '../../src/models/clip-tokenizer.ts';
import { networkScope } from '../../src/models/layers.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { f32, i32 } from '../../src/tensor/tensor.ts';
import { backgroundColors, objectColors } from '../drawing/colors.ts';
import {
  captionOf,
  type Scene,
  sampleScene,
  scenePositions,
  sceneSizes,
} from '../drawing/scene.ts';
import { shapeOutlines } from '../drawing/shape-outlines.ts';
import { baseSizes } from './base-sizes.ts';
import { compactVocabulary } from './compact-vocabulary.ts';
import { FullTraining, learningRateAt } from './full-training.ts';
import { noParameters } from './no-parameters.ts';
import { textShapes } from './text-shapes.ts';
import { vocabularySeed } from './token-table.ts';

const { values: options } = parseArgs({
  options: {
    steps: { type: 'string', default: '700' },
    state: { type: 'string', default: '.sdl-train/base/text.safetensors' },
    minutes: { type: 'string', default: '10' },
  },
});
const steps = Number(options.steps);
const batch = 32;
const seed = 19;
const peak = 2e-3;

/** What a scene can be, fact by fact; a caption says some of them. */
const facts: readonly (readonly [keyof Scene, string, RegExp])[] = [
  ...Object.keys(shapeOutlines).map((name) => ['shape', name, /./] as const),
  ...Object.keys(objectColors).map((name) => ['color', name, /./] as const),
  ...sceneSizes.map((name) => ['size', name, /\b(small|little|big|large)\b/] as const),
  ...scenePositions.map(
    (name) => ['position', name, /\b(left|right|top|bottom|centre|middle)\b/] as const,
  ),
  ...Object.keys(backgroundColors).map((name) => ['background', name, /background/] as const),
];
const vocabulary = compactVocabulary(vocabularySeed);
const eosRow = vocabulary.ids.length - 1;
const shapes = new Map([
  ...textShapes(vocabulary.ids.length),
  ['head.weight', [facts.length, baseSizes.text.hidden]] as const,
  ['head.bias', [facts.length]] as const,
]);

/** Every closing token shall tell all facts that its caption says. */
function textLoss(g: GraphBuilder, weights: ReadonlyMap<string, Node>): Node {
  const scope = networkScope(g, shapes, 'text_encoder', {
    makeWeight: (name) => weights.get(name)!,
  });
  const context = textContext(scope, g.input('ids', [batch, clipPositions], 'i32'));
  const told = g.linear(context, weights.get('head.weight')!, weights.get('head.bias')!);
  const error = g.sub(told, g.input('truth', [batch, 1, facts.length]));
  const counted = g.mul(g.square(error), g.input('said', [batch, 1, facts.length]));
  const loss = g.mean(g.mul(counted, g.input('closing', [batch, clipPositions, 1])), [0, 1, 2]);
  return g.reshape(loss, [1]);
}

function feedsOf(step: number) {
  const ids = new Int32Array(batch * clipPositions);
  const truth = new Float32Array(batch * facts.length);
  const said = new Float32Array(batch * facts.length);
  const closing = new Float32Array(batch * clipPositions);
  for (let i = 0; i < batch; i++) {
    const rng = new Rng(seed, 'text-sample', step, i);
    const scene = sampleScene(rng);
    const caption = captionOf(scene, rng);
    const rows = vocabulary.rows(caption);
    ids.set(rows, i * clipPositions);
    const first = rows.indexOf(eosRow);
    closing.fill(
      clipPositions / (clipPositions - first),
      i * clipPositions + first,
      (i + 1) * clipPositions,
    );
    for (const [k, [fact, name, words]] of facts.entries()) {
      truth[i * facts.length + k] = Number(scene[fact] === name);
      said[i * facts.length + k] = Number(words.test(caption));
    }
  }
  return {
    ids: i32([batch, clipPositions], ids),
    truth: f32([batch, 1, facts.length], truth),
    said: f32([batch, 1, facts.length], said),
    closing: f32([batch, clipPositions, 1], closing),
  };
}

const executor = createOnnxExecutor({ parameters: noParameters });
const training = await FullTraining.start({
  executor,
  shapes,
  statePath: options.state,
  seed,
  averageDecay: 0.98,
  buildLoss: textLoss,
});
const end = Date.now() + 60_000 * Number(options.minutes);
while (training.step < steps && Date.now() < end) {
  const loss = await training.run(
    feedsOf(training.step),
    learningRateAt(training.step, steps, peak),
  );
  if (training.step % 25 === 0)
    process.stdout.write(`step ${training.step} loss ${loss.toFixed(5)}\n`);
}
await training.save();
await executor.dispose();
