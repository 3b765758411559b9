/**
 * @file Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): h = W·x + (alpha/rank)·up·down·x,
 * joined to the frozen network's graph.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import type { Adapter } from '../models/layers.ts';
import type { FactorSlot, LoraLayout, LoraSlot } from './lora-layout.ts';

/** The factors of one module, each a vector cut out of its group's variable. */
interface Factors {
  readonly slot: LoraSlot;
  readonly down: Node;
  readonly up: Node;
}

/** A LoRA in one graph. */
export interface LoraAdapter extends Adapter {
  /** All factors of a group, down and up in turn, in the layout's order: what to differentiate by. */
  factors(layout: LoraLayout): Node[];
}

export interface LoraOptions {
  /** Strength of the whole adapter; 1 unless given. A node is a scalar. */
  readonly multiplier?: number | Node;
}

/**
 * The adapter whose factors are the variables of `layouts`. Layers that are in none of them are left
 * as they are.
 */
export function loraAdapter(
  g: GraphBuilder,
  layouts: readonly LoraLayout[],
  { multiplier = 1 }: LoraOptions = {},
): LoraAdapter {
  const byPath = new Map<string, Factors>();
  for (const layout of layouts) {
    const variable = g.variable(layout.variable, [layout.size]);
    const cut = ({ offset, size }: FactorSlot) => g.sliceAxis(variable, 0, offset, offset + size);
    for (const slot of layout.slots) {
      byPath.set(slot.module.path, { slot, down: cut(slot.down), up: cut(slot.up) });
    }
  }
  const scaled = (x: Node, { alpha, rank }: LoraSlot): Node =>
    typeof multiplier === 'number'
      ? g.scale(x, (multiplier * alpha) / rank)
      : g.mul(g.scale(x, alpha / rank), multiplier);

  return {
    linear: (_, path, x, base) => {
      const found = byPath.get(path);
      if (!found) return base;
      const { slot, down, up } = found;
      const [out, inputs] = slot.module.shape as [number, number];
      const inner = scaled(g.linear(x, g.reshape(down, [slot.rank, inputs])), slot);
      return g.add(base, g.linear(inner, g.reshape(up, [out, slot.rank])));
    },
    conv2d: (_, path, x, base, window) => {
      const found = byPath.get(path);
      if (!found) return base;
      const { slot, down, up } = found;
      const inner = g.conv2d(x, g.reshape(down, slot.down.shape), undefined, window);
      return g.add(base, g.conv2d(scaled(inner, slot), g.reshape(up, slot.up.shape)));
    },
    factors: (layout) =>
      layout.slots.flatMap(({ module }) => {
        const found = byPath.get(module.path);
        if (!found) throw new Error(`internal: ${module.name} is not in this adapter`);
        return [found.down, found.up];
      }),
  };
}

/**
 * The gradient of a group's variable, from those of its factors.
 *
 * @param gradients of `adapter.factors(layout)`, in that order; null counts as zeros
 * @returns [layout.size]
 */
export function flattenGradients(
  g: GraphBuilder,
  layout: LoraLayout,
  gradients: readonly (Node | null)[],
): Node {
  const slots = layout.slots.flatMap(({ down, up }) => [down, up]);
  const parts = slots.map(({ size }, i) => gradients[i] ?? g.constant(0, [size]));
  return g.concat(parts, 0);
}
