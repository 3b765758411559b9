/**
 * @file What decides where it is computed whether a step counts: a step whose loss or gradient is not
 * finite changes nothing. So the host need not wait for a step to begin the next one.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import type { Executor } from '../runtime/executor.ts';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { type AdamwInputs, type AdamwOptions, adamwCorrections, adamwInputs } from './adamw.ts';

/** Gathered over the micro-batches of a step, [1] each; and whether the step before counted, 1 or 0. */
const variables = {
  loss: 'gradient.loss',
  normSquared: 'gradient.normSquared',
  applied: 'gradient.applied',
} as const;

/** Added to the norm, as torch.nn.utils.clip_grad_norm_ does. */
const normEpsilon = 1e-6;

/** Gives the guard's variables their first values. */
export function startGuard(executor: Executor): void {
  executor.writeVariable(variables.loss, f32([1]));
  executor.writeVariable(variables.normSquared, f32([1]));
  executor.writeVariable(variables.applied, f32([], [1]));
}

/**
 * keep·gathered + share·fresh, where a gathered value that is not kept may be anything.
 * @param keep 1 or 0; share a scalar
 */
export function gather(
  g: GraphBuilder,
  gathered: Node,
  fresh: Node,
  { keep, share }: { readonly keep: Node; readonly share: Node },
): Node {
  return g.add(g.select(keep, gathered, g.constant(0)), g.mul(fresh, share));
}

/** The guard's variables after a micro-batch of this loss [1], with the gathered gradient's norm [1]. */
export function guardUpdates(
  g: GraphBuilder,
  loss: Node,
  normSquared: Node,
  factors: { readonly keep: Node; readonly share: Node },
): Record<string, Node> {
  return {
    [variables.loss]: gather(g, g.variable(variables.loss, [1]), loss, factors),
    [variables.normSquared]: normSquared,
  };
}

/** The guard in the graph of the optimizer. */
export interface StepGuard {
  /** What the gradients are multiplied with, a scalar. */
  readonly clip: Node;
  /** `next` where the step counts, else `before`. */
  readonly chosen: (next: Node, before: Node) => Node;
  readonly inputs: (suffix: string) => AdamwInputs;
  /** `loss` [1], `normSquared` [1] and `applied` [], 1 or 0. */
  readonly outputs: Readonly<Record<'loss' | 'normSquared' | 'applied', Node>>;
  readonly updates: Readonly<Record<string, Node>>;
}

export function stepGuard(g: GraphBuilder): StepGuard {
  const one = g.constant(1);
  const loss = g.variable(variables.loss, [1]);
  const normSquared = g.variable(variables.normSquared, [1]);
  const sum = g.reshape(g.add(loss, normSquared), []);
  // Of what is not finite, the difference to itself is not a number.
  const counts = g.add(one, g.sub(sum, sum));
  const norm = g.sqrt(g.reshape(normSquared, []));
  const ratio = g.div(g.input('maxGradNorm', []), g.add(norm, g.constant(normEpsilon)));
  const applied = g.select(counts, one, g.constant(0));
  const countedBefore = g.variable(variables.applied, []);
  const known = (correction: Node, name: string) =>
    g.select(countedBefore, correction, g.input(`${name}.skipped`, []));
  return {
    clip: g.select(g.sub(one, ratio), ratio, one),
    chosen: (next, before) => g.select(counts, next, before),
    inputs: (suffix) => {
      const { learningRate, correction1, correction2 } = adamwInputs(g, suffix);
      return {
        learningRate,
        correction1: known(correction1, 'correction1'),
        correction2: known(correction2, 'correction2'),
      };
    },
    outputs: { loss, normSquared, applied },
    updates: { [variables.applied]: applied },
  };
}

/**
 * What the optimizer's graph is fed for its guard.
 * @param updates of AdamW done before, if the step before counts; `unsure` where the host has not seen
 * whether it does
 */
export function guardFeeds(
  adamw: AdamwOptions,
  maxGradNorm: number,
  { updates, unsure }: { readonly updates: number; readonly unsure: boolean },
): Record<string, Tensor<'f32'>> {
  const skipped = adamwCorrections(unsure ? updates : updates + 1, adamw);
  return {
    maxGradNorm: f32([], [maxGradNorm > 0 ? maxGradNorm : Number.POSITIVE_INFINITY]),
    ...adamwCorrections(updates + 1, adamw),
    'correction1.skipped': skipped.correction1,
    'correction2.skipped': skipped.correction2,
  };
}
