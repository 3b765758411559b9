/**
 * @file The graphs of one training step: from latents and captions to the gradient of every LoRA
 * factor, and from the gradients to the next factors.
 */

import { grad } from '../graph/autodiff/grad.ts';
import { GraphBuilder } from '../graph/graph-builder.ts';
import type { Graph, Node } from '../graph/ops.ts';
import { rematerialize } from '../graph/passes/rematerialize.ts';
import { flattenGradients, loraAdapter } from '../lora/lora-adapter.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { textContext } from '../models/clip-text-model.ts';
import { networkScope } from '../models/layers.ts';
import { unetHeads } from '../models/sd1/sizes.ts';
import { unet } from '../models/unet.ts';
import type { Shape } from '../tensor/shape.ts';
import { type AdamwOptions, adamwGraph, adamwInputs } from './adamw.ts';
import { diffusionLoss, lossInputs, lossTarget, noisyLatents } from './loss.ts';
import type { PredictionType } from './noise-schedule.ts';

/** The model that a step trains on. */
export interface StepModel {
  /** Of all weights by full name. */
  readonly shapes: ReadonlyMap<string, Shape>;
  readonly predictionType: PredictionType;
  /** Heads of the text encoder; read off its size unless given. */
  readonly textHeads?: number | undefined;
}

/** Sizes of one batch; each needs a graph of its own. */
export interface StepShape {
  readonly batch: number;
  /** Of the latents: pixels / 8. */
  readonly height: number;
  readonly width: number;
  /** Tokens of the context that is fed, or chunks of 77 ids that are encoded in the graph. */
  readonly text: { readonly tokens: number } | { readonly chunks: number };
}

export interface StepOptions {
  readonly clipSkip: number;
  readonly gradientCheckpointing: boolean;
}

/** Name of the variable that gathers a group's gradient. */
export const gradientVariable = ({ group }: LoraLayout) => `gradient.${group}`;
/** Names of the two moments of a group. */
export const momentVariables = ({ group }: LoraLayout) =>
  [`adam.m.${group}`, `adam.v.${group}`] as const;

/** The context [n, t, d] of the captions: fed, or encoded from ids with the adapter in place. */
function contextOf(
  g: GraphBuilder,
  model: StepModel,
  { batch, text }: StepShape,
  adapter: ReturnType<typeof loraAdapter>,
  clipSkip: number,
): Node {
  if ('tokens' in text) {
    const positions = model.shapes.get(
      'unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight',
    );
    if (!positions) throw new Error('internal: the UNet has no cross-attention');
    return g.input('context', [batch, text.tokens, positions[1]!]);
  }
  const ids = g.input('ids', [batch, text.chunks, 77], 'i32');
  const scope = networkScope(g, model.shapes, 'text_encoder', { adapter });
  return textContext(scope, ids, { clipSkip, heads: model.textHeads });
}

/**
 * The graph of one micro-batch. It is fed the loss's inputs, `timeProj` and the text, and
 * `gradientKeep` and `gradientShare`, scalars: the gathered gradient becomes
 * keep·gathered + share·gradient. It gives `loss` [1], `perSample` [n] and `normSquared` [1], the
 * squared norm of all gathered gradients.
 */
export function gradientGraph(
  model: StepModel,
  layouts: readonly LoraLayout[],
  shape: StepShape,
  { clipSkip, gradientCheckpointing }: StepOptions,
): Graph {
  const g = new GraphBuilder();
  const adapter = loraAdapter(g, layouts);
  const inputs = lossInputs(g, [shape.batch, 4, shape.height, shape.width]);
  const scope = networkScope(g, model.shapes, 'unet', { adapter });
  const channels = model.shapes.get('unet.conv_in.weight')![0]!;
  const prediction = unet(
    scope,
    {
      latents: noisyLatents(g, inputs),
      timeProj: g.input('timeProj', [shape.batch, channels]),
      context: contextOf(g, model, shape, adapter, clipSkip),
    },
    { heads: () => unetHeads },
  );
  const target = lossTarget(g, inputs, model.predictionType);
  const { loss, perSample } = diffusionLoss(g, prediction, target, inputs.weight);

  const factors = layouts.map((layout) => adapter.factors(layout));
  const gradients = grad(g, loss, factors.flat());
  const updates: Record<string, Node> = {};
  const squares: Node[] = [];
  for (const [i, layout] of layouts.entries()) {
    const own = gradients.splice(0, factors[i]!.length);
    const gathered = g.mul(
      g.variable(gradientVariable(layout), [layout.size]),
      g.input('gradientKeep', []),
    );
    const fresh = g.mul(flattenGradients(g, layout, own), g.input('gradientShare', []));
    const sum = g.add(gathered, fresh);
    updates[gradientVariable(layout)] = sum;
    squares.push(g.sum(g.square(sum), [0]));
  }
  const normSquared = squares.reduce((a, b) => g.add(a, b));
  const graph = g.build({ loss, perSample, normSquared }, updates);
  return gradientCheckpointing ? rematerialize(graph, loss) : graph;
}

/**
 * The graph of one AdamW update. It is fed `clip`, a scalar that the gradients are multiplied with,
 * the corrections of AdamW, and for each group its `learningRate.<group>`.
 */
export function optimizerGraph(layouts: readonly LoraLayout[], options: AdamwOptions): Graph {
  const g = new GraphBuilder();
  const updates: Record<string, Node> = {};
  for (const layout of layouts) {
    const shape = [layout.size];
    const [m, v] = momentVariables(layout);
    const gradient = g.mul(g.variable(gradientVariable(layout), shape), g.input('clip', []));
    const state = {
      param: g.variable(layout.variable, shape),
      m: g.variable(m, shape),
      v: g.variable(v, shape),
    };
    const next = adamwGraph(g, state, gradient, adamwInputs(g, `.${layout.group}`), options);
    Object.assign(updates, { [layout.variable]: next.param, [m]: next.m, [v]: next.v });
  }
  return g.build({}, updates);
}
