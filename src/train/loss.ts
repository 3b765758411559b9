/**
 * @file The loss of diffusion training (Ho et al. 2020, arXiv:2006.11239): the squared distance of
 * what the network predicts from what was mixed in.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import type { PredictionType } from './noise-schedule.ts';

/** What is fed at each step. */
export interface LossInputs {
  /** x₀, scaled latents [n, 4, h, w]. */
  readonly latents: Node;
  /** ε ~ N(0, 1), [n, 4, h, w]. */
  readonly noise: Node;
  /** √ᾱ_t of each sample, [n, 1, 1, 1]. */
  readonly sqrtAlpha: Node;
  /** √(1 - ᾱ_t) of each sample, [n, 1, 1, 1]. */
  readonly sqrtOneMinusAlpha: Node;
  /** Weight of each sample, [n]: min-SNR times that of prior preservation. */
  readonly weight: Node;
}

/** The inputs as leaves of the graph, named as the fields are. */
export function lossInputs(g: GraphBuilder, shape: readonly number[]): LossInputs {
  const n = shape[0]!;
  return {
    latents: g.input('latents', shape),
    noise: g.input('noise', shape),
    sqrtAlpha: g.input('sqrtAlpha', [n, 1, 1, 1]),
    sqrtOneMinusAlpha: g.input('sqrtOneMinusAlpha', [n, 1, 1, 1]),
    weight: g.input('weight', [n]),
  };
}

/** x_t = √ᾱ_t·x₀ + √(1 - ᾱ_t)·ε. */
export function noisyLatents(
  g: GraphBuilder,
  { latents, noise, sqrtAlpha, sqrtOneMinusAlpha }: LossInputs,
): Node {
  return g.add(g.mul(sqrtAlpha, latents), g.mul(sqrtOneMinusAlpha, noise));
}

/** ε, or v = √ᾱ_t·ε - √(1 - ᾱ_t)·x₀. */
export function lossTarget(
  g: GraphBuilder,
  { latents, noise, sqrtAlpha, sqrtOneMinusAlpha }: LossInputs,
  predictionType: PredictionType,
): Node {
  if (predictionType === 'epsilon') return noise;
  return g.sub(g.mul(sqrtAlpha, noise), g.mul(sqrtOneMinusAlpha, latents));
}

/**
 * The weighted mean squared error.
 *
 * @param prediction [n, 4, h, w]
 * @param target [n, 4, h, w]
 * @param weight [n]
 * @returns `loss` [1], the mean over the batch of weight times error; `perSample` [n], the errors
 * without the weights
 */
export function diffusionLoss(
  g: GraphBuilder,
  prediction: Node,
  target: Node,
  weight: Node,
): { readonly loss: Node; readonly perSample: Node } {
  const squares = g.square(g.sub(prediction, target));
  const perSample = g.reshape(g.mean(squares, [1, 2, 3]), [prediction.shape[0]!]);
  return { loss: g.mean(g.mul(perSample, weight), [0]), perSample };
}
