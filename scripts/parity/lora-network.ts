/** @file The LoRA of a golden folder: read from its file, joined to the networks, differentiated. */

import { grad } from '../../src/graph/autodiff/grad.ts';
import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { type LoraOptions, loraAdapter } from '../../src/lora/lora-adapter.ts';
import { type LoraLayout, loraLayout } from '../../src/lora/lora-layout.ts';
import { type LoraModule, loraValues } from '../../src/lora/lora-modules.ts';
import { targetModules } from '../../src/lora/target-modules.ts';
import type { TextNodes } from '../../src/models/model-family.ts';
import { predict } from '../../src/models/networks.ts';
import type { Executor } from '../../src/runtime/executor.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { f32, type Tensor } from '../../src/tensor/tensor.ts';
import {
  diffusionLoss,
  type LossInputs,
  lossInputs,
  lossTarget,
  noisyLatents,
} from '../../src/train/loss.ts';
import type { Family } from './family.ts';
import type { GoldenFile } from './golden-file.ts';
import { textOf } from './networks.ts';
import type { Report } from './report.ts';

const downSuffix = '.lora_down.weight';

/** All modules of an adapter file. */
export function readModules(file: GoldenFile): LoraModule[] {
  return file.names
    .filter((key) => key.endsWith(downSuffix))
    .map((key) => {
      const name = key.slice(0, -downSuffix.length);
      return {
        name,
        down: file.f32(key),
        up: file.f32(`${name}.lora_up.weight`),
        alpha: file.scalar(`${name}.alpha`),
      };
    });
}

const isKernel = ({ down }: LoraModule) => (down.shape[2] ?? 1) * (down.shape[3] ?? 1) > 1;

/** Where our code puts the modules of `modules`, with the ranks and alphas that they have. */
export function layoutsOf(family: Family, modules: readonly LoraModule[]): LoraLayout[] {
  const plain = modules.find((module) => !isKernel(module));
  const kernel = modules.find(isKernel);
  const targets = targetModules(family.model, { convolutions: kernel !== undefined });
  const ranks = {
    rank: plain?.down.shape[0] ?? 1,
    alpha: plain?.alpha,
    convRank: kernel?.down.shape[0],
    convAlpha: kernel?.alpha,
  };
  return (['text_encoder', 'unet'] as const).map((group) => loraLayout(group, targets, ranks));
}

/** Holds that our targets are those of the file, and puts the file's values on the executor. */
export function loadLora(
  executor: Executor,
  report: Report,
  layouts: readonly LoraLayout[],
  modules: readonly LoraModule[],
  origin: string,
): void {
  const ours = new Set(layouts.flatMap(({ slots }) => slots.map(({ module }) => module.name)));
  const extra = modules.filter(({ name }) => !ours.has(name)).map(({ name }) => name);
  report.check(
    `targets of ${origin} (${modules.length})`,
    extra.length === 0 && ours.size === modules.length,
    `ours are ${ours.size}; not among them: ${extra.slice(0, 3).join(', ')}`,
  );
  for (const layout of layouts) {
    executor.writeVariable(
      layout.variable,
      f32([layout.size], loraValues(layout, modules, origin)),
    );
  }
}

/** Everything that one forward pass through adapted networks gives. */
export interface LoraForward {
  readonly inputs: LossInputs;
  readonly text: TextNodes;
  readonly noisy: Node;
  readonly target: Node;
  readonly pred: Node;
  readonly perSample: Node;
  readonly loss: Node;
  /** Of `factors`, in turn; asked for only where they are wanted. */
  gradients(layout: LoraLayout): (Node | null)[];
}

/**
 * Text encoder, UNet and loss with the adapter in both networks.
 *
 * @param latents shape of the latents
 * @param ids token ids of the batch, fed with the others of `tokenFeeds`
 * @param lossScale what gradients are multiplied with; 1 unless given
 */
export function loraForward(
  g: GraphBuilder,
  family: Family,
  layouts: readonly LoraLayout[],
  { latents, ids }: { readonly latents: Shape; readonly ids: Tensor<'i32'> },
  { lossScale, ...options }: LoraOptions & { readonly lossScale?: Node } = {},
): LoraForward {
  const adapter = loraAdapter(g, layouts, options);
  const inputs = lossInputs(g, latents);
  const text = textOf(g, family, ids, adapter);
  const noisy = noisyLatents(g, inputs);
  const pred = predict(g, family.model, noisy, text, { adapter });
  const target = lossTarget(g, inputs, family.config.predictionType);
  const { loss, perSample } = diffusionLoss(g, pred, target, inputs.weight);
  const factors = layouts.map((layout) => adapter.factors(layout));
  let found: (Node | null)[] | undefined;
  return {
    inputs,
    text,
    noisy,
    target,
    pred,
    perSample,
    loss,
    gradients: (layout) => {
      found ??= grad(g, lossScale ? g.mul(loss, lossScale) : loss, factors.flat());
      const at = layouts.indexOf(layout);
      const start = factors.slice(0, at).reduce((n, list) => n + list.length, 0);
      return found.slice(start, start + factors[at]!.length);
    },
  };
}
