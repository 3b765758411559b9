/**
 * @file The graphs of one training step: from latents and captions to the gradient of every LoRA
 * factor, and from the gradients to the next factors.
 */

import { grad } from '../graph/autodiff/grad.ts';
import { GraphBuilder } from '../graph/graph-builder.ts';
import type { Graph, Node } from '../graph/ops.ts';
import { recomputeActivations } from '../graph/passes/recompute-activations.ts';
import { rematerialize } from '../graph/passes/rematerialize.ts';
import { flattenGradients, loraAdapter } from '../lora/lora-adapter.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';
import { encodedText, fedText, type NetworkModel, predict } from '../models/networks.ts';
import { type AdamwOptions, adamwGraph } from './adamw.ts';
import { type IdleRange, idleRanges, keepIdle } from './idle-factors.ts';
import { diffusionLoss, lossInputs, lossTarget, noisyLatents } from './loss.ts';
import type { PredictionType } from './noise-schedule.ts';
import { gather, guardUpdates, stepGuard } from './step-guard.ts';

/** The model that a step trains on. */
export interface StepModel extends NetworkModel {
  readonly predictionType: PredictionType;
  /** Of the executor that graphs are for: norms and activations cost nothing to compute again. */
  readonly recomputesFreely?: boolean | undefined;
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
  /** Whether captions weigh their words; false unless given. */
  readonly emphasis?: boolean;
  readonly gradientCheckpointing: boolean;
  /** Gradients come multiplied by a fed `lossScale`; false unless given. */
  readonly scalesLoss?: boolean;
}

/** Name of the variable that gathers a group's gradient. */
export const gradientVariable = ({ group }: LoraLayout) => `gradient.${group}`;
/** Names of the two moments of a group. */
export const momentVariables = ({ group }: LoraLayout) =>
  [`adam.m.${group}`, `adam.v.${group}`] as const;

/**
 * Latent pixels of a step, at most, in which GPUs wait for launches rather than for memory: one picture of
 * 1024×1024. Frozen weights are then the larger part of what is held, and what little is kept beside
 * them is worth more than a few launches.
 */
const smallStep = 128 * 128;

/** Everything between the inputs and the gradient of each factor. */
function forwardAndBackward(
  g: GraphBuilder,
  model: StepModel,
  layouts: readonly LoraLayout[],
  { batch, height, width, text }: StepShape,
  { clipSkip, emphasis = false, scalesLoss = false }: StepOptions,
) {
  const adapter = loraAdapter(g, layouts);
  const inputs = lossInputs(g, [batch, 4, height, width]);
  const conditions =
    'tokens' in text
      ? fedText(g, model, { batch, ...text })
      : encodedText(g, model, { batch, ...text }, { clipSkip, emphasis, adapter });
  const prediction = predict(g, model, noisyLatents(g, inputs), conditions, { adapter });
  const target = lossTarget(g, inputs, model.predictionType);
  const { loss, perSample } = diffusionLoss(g, prediction, target, inputs.weight);
  const factors = layouts.map((layout) => adapter.factors(layout));
  // In f32, before anything is rounded to the type of the networks.
  const scaled = scalesLoss ? g.mul(loss, g.input('lossScale', [])) : loss;
  const all = grad(g, scaled, factors.flat());
  const gradients = factors.map((own) => all.splice(0, own.length));
  return { loss, perSample, gradients };
}

/** The parts of each layout's variable that the loss does not depend on. */
export function idleFactors(
  model: StepModel,
  layouts: readonly LoraLayout[],
  shape: StepShape,
  options: StepOptions,
): IdleRange[][] {
  const { gradients } = forwardAndBackward(new GraphBuilder(), model, layouts, shape, options);
  return layouts.map((layout, i) => idleRanges(layout, gradients[i]!));
}

/**
 * The graph of one micro-batch. It is fed the loss's inputs, those of the UNet and the text, and
 * `gradientKeep`, `gradientShare` and `lossShare`, scalars: the gathered gradient becomes
 * keep·gathered + share·gradient, in f32; of a scaled loss, its share is divided by the scale. The gathered loss
 * becomes likewise. It gives `loss` [1], `perSample` [n] and `normSquared` [1], the
 * squared norm of all gathered gradients.
 */
export function gradientGraph(
  model: StepModel,
  layouts: readonly LoraLayout[],
  shape: StepShape,
  options: StepOptions,
): Graph {
  const g = new GraphBuilder();
  const { loss, perSample, gradients } = forwardAndBackward(g, model, layouts, shape, options);
  const updates: Record<string, Node> = {};
  const squares: Node[] = [];
  const keep = g.input('gradientKeep', []);
  const share = g.input('gradientShare', []);
  for (const [i, layout] of layouts.entries()) {
    const gathered = g.variable(gradientVariable(layout), [layout.size]);
    const fresh = flattenGradients(g, layout, gradients[i]!);
    const sum = gather(g, gathered, fresh, { keep, share });
    updates[gradientVariable(layout)] = sum;
    squares.push(g.sum(g.square(sum), [0]));
  }
  const normSquared = squares.reduce((a, b) => g.add(a, b));
  const lossShare = g.input('lossShare', []);
  Object.assign(updates, guardUpdates(g, loss, normSquared, { keep, share: lossShare }));
  const graph = g.build({ loss, perSample, normSquared }, updates);
  if (options.gradientCheckpointing) return rematerialize(graph, loss);
  const isSmall = shape.batch * shape.height * shape.width <= smallStep;
  const recomputes = model.recomputesFreely || (model.joinsLayers && isSmall);
  return recomputes ? recomputeActivations(graph, loss) : graph;
}

/**
 * The graph of one AdamW update. It is fed `guardFeeds`, and for each group its `learningRate.<group>`,
 * and gives what the guard does. A step that is not finite changes nothing.
 *
 * @param idle `idleFactors`, which stay as they are; none unless given
 */
export function optimizerGraph(
  layouts: readonly LoraLayout[],
  options: AdamwOptions,
  idle: readonly (readonly IdleRange[])[] = [],
): Graph {
  const g = new GraphBuilder();
  const guard = stepGuard(g);
  const updates: Record<string, Node> = { ...guard.updates };
  for (const [i, layout] of layouts.entries()) {
    const shape = [layout.size];
    const [m, v] = momentVariables(layout);
    const gradient = g.mul(g.variable(gradientVariable(layout), shape), guard.clip);
    const state = {
      param: g.variable(layout.variable, shape),
      m: g.variable(m, shape),
      v: g.variable(v, shape),
    };
    const next = adamwGraph(g, state, gradient, guard.inputs(`.${layout.group}`), options);
    const param = keepIdle(g, next.param, state.param, idle[i] ?? []);
    updates[layout.variable] = guard.chosen(param, state.param);
    updates[m] = guard.chosen(next.m, state.m);
    updates[v] = guard.chosen(next.v, state.v);
  }
  return g.build({ ...guard.outputs }, updates);
}
