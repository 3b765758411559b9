/** @file AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) as a graph, equal to torch.optim.AdamW. */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';

export interface AdamwOptions {
  /** Decay rates of the two moments. */
  readonly betas: readonly [number, number];
  /** Added to the root of the second moment. */
  readonly epsilon: number;
  /** Part of each weight that is taken off at each step, times the learning rate. */
  readonly weightDecay: number;
}

/** PyTorch's defaults. */
export const adamwDefaults: AdamwOptions = {
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  weightDecay: 0.01,
};

/** The values of one parameter group: flat vectors [P]. */
export interface AdamwState {
  readonly param: Node;
  /** Running mean of the gradient. */
  readonly m: Node;
  /** Running mean of its square. */
  readonly v: Node;
}

/** Fed at each step; each a scalar [], or [P] for a value of each weight. */
export interface AdamwInputs {
  readonly learningRate: Node;
  /** 1 - β₁ᵗ. */
  readonly correction1: Node;
  /** √(1 - β₂ᵗ). */
  readonly correction2: Node;
}

/** The inputs as leaves of the graph, named as the fields are, the learning rate with `suffix`. */
export function adamwInputs(g: GraphBuilder, suffix = ''): AdamwInputs {
  return {
    learningRate: g.input(`learningRate${suffix}`, []),
    correction1: g.input('correction1', []),
    correction2: g.input('correction2', []),
  };
}

/**
 * What `adamwInputs` is fed.
 * @param step number of this update, from 1
 */
export function adamwCorrections(
  step: number,
  { betas: [beta1, beta2] }: AdamwOptions = adamwDefaults,
): { readonly correction1: Tensor<'f32'>; readonly correction2: Tensor<'f32'> } {
  if (step < 1) throw new Error(`internal: AdamW's steps count from 1, not ${step}`);
  return {
    correction1: f32([], [1 - beta1 ** step]),
    correction2: f32([], [Math.sqrt(1 - beta2 ** step)]),
  };
}

/** The state after one step down the gradient [P]. */
export function adamwGraph(
  g: GraphBuilder,
  { param, m, v }: AdamwState,
  gradient: Node,
  { learningRate, correction1, correction2 }: AdamwInputs,
  { betas: [beta1, beta2], epsilon, weightDecay }: AdamwOptions = adamwDefaults,
): AdamwState {
  const decayed =
    weightDecay === 0
      ? param
      : g.mul(param, g.sub(g.constant(1), g.scale(learningRate, weightDecay)));
  const m1 = g.add(g.scale(m, beta1), g.scale(gradient, 1 - beta1));
  const v1 = g.add(g.scale(v, beta2), g.scale(g.square(gradient), 1 - beta2));
  const denominator = g.add(g.div(g.sqrt(v1), correction2), g.constant(epsilon));
  const stepSize = g.div(learningRate, correction1);
  return {
    param: g.sub(decayed, g.mul(stepSize, g.div(m1, denominator))),
    m: m1,
    v: v1,
  };
}
