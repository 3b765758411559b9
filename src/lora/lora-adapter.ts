/**
 * @file Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): h = W·x + up·(alpha/rank)·down·x,
 * joined to the frozen network's graph.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import type { Adapter } from '../models/layers.ts';
import type { FactorSlot, LoraLayout, LoraSlot } from './lora-layout.ts';

/** The factors of one module, each a vector cut out of its group's variable. */
interface Factors {
  readonly slot: LoraSlot;
  /** Times the module's scale. */
  readonly down: Node;
  readonly up: Node;
}

/** A LoRA in one graph. */
export interface LoraAdapter extends Adapter {
  /**
   * All factors of a group, down and up in turn, in the order of the layout's slots: what to
   * differentiate by. Down factors are scaled already; `flattenGradients` makes up for it.
   */
  factors(layout: LoraLayout): Node[];
}

export interface LoraOptions {
  /** Strength of the whole adapter; 1 unless given. A node is a scalar. */
  readonly multiplier?: number | Node;
}

const scaleOf = ({ alpha, rank }: LoraSlot) => alpha / rank;

/** Where the down factors of one scale lie, side by side. */
interface ScaledRange {
  readonly scale: number;
  readonly start: number;
  readonly end: number;
}

/** In the order in which they lie; the up factors come after them. */
function scaledRanges({ slots }: LoraLayout): ScaledRange[] {
  const ranges = new Map<number, ScaledRange>();
  for (const slot of slots) {
    const scale = scaleOf(slot);
    const { offset, size } = slot.down;
    const { start, end } = ranges.get(scale) ?? { start: offset, end: offset };
    ranges.set(scale, {
      scale,
      start: Math.min(start, offset),
      end: Math.max(end, offset + size),
    });
  }
  return [...ranges.values()].sort((a, b) => a.start - b.start);
}

/** All factors of a group as vectors, by the path of their layer. */
function cutFactors(
  g: GraphBuilder,
  layout: LoraLayout,
  multiplier: number | Node,
): [string, Factors][] {
  const variable = g.variable(layout.variable, [layout.size]);
  // A whole range is scaled at once: each module would have to do so in each product.
  const scaled = new Map(
    scaledRanges(layout).map(({ scale, start, end }) => {
      const range = g.sliceAxis(variable, 0, start, end);
      const node =
        typeof multiplier === 'number'
          ? g.scale(range, multiplier * scale)
          : g.mul(g.scale(range, scale), multiplier);
      return [scale, { node, start }];
    }),
  );
  const cut = (x: Node, { offset, size }: FactorSlot, start: number) =>
    g.sliceAxis(x, 0, offset - start, offset - start + size);
  return layout.slots.map((slot) => {
    const { node, start } = scaled.get(scaleOf(slot))!;
    return [
      slot.module.path,
      { slot, down: cut(node, slot.down, start), up: cut(variable, slot.up, 0) },
    ];
  });
}

/**
 * What layers of one input add to their joined outputs [.., m·out]: one product by all down factors
 * below one another, and a batch of products by the up factors.
 */
function joinedSum(g: GraphBuilder, x: Node, base: Node, all: readonly Factors[]): Node {
  const { slot } = all[0]!;
  const [out, inputs] = slot.module.shape as [number, number];
  const [m, { rank }] = [all.length, slot];
  const rows = base.shape.slice(0, -1).reduce((n, d) => n * d, 1);
  /** [.., m·c] to [m, rows, c]. */
  const apart = (y: Node, c: number) => g.transpose(g.reshape(y, [rows, m, c]), [1, 0, 2]);
  const join = (factors: readonly Node[], shape: readonly number[]) =>
    g.reshape(g.concat(factors, 0), shape);
  const downs = join(
    all.map(({ down }) => down),
    [m * rank, inputs],
  );
  const ups = join(
    all.map(({ up }) => up),
    [m, out, rank],
  );
  const change = g.matmul(apart(g.linear(x, downs), rank), ups, { transposeB: true });
  return g.reshape(g.transpose(g.add(apart(base, out), change), [1, 0, 2]), base.shape);
}

/** Whether factors can be put together to those of one layer. */
const areAlike = (all: readonly Factors[]) =>
  new Set(all.map(({ slot }) => `${slot.rank} ${slot.module.shape}`)).size === 1;

/**
 * The adapter whose factors are the variables of `layouts`. Layers that are in none of them are left
 * as they are.
 */
export function loraAdapter(
  g: GraphBuilder,
  layouts: readonly LoraLayout[],
  { multiplier = 1 }: LoraOptions = {},
): LoraAdapter {
  const byPath = new Map(layouts.flatMap((layout) => cutFactors(g, layout, multiplier)));
  return {
    linear: (_, path, x, base) => {
      const found = byPath.get(path);
      if (!found) return base;
      const { slot, down, up } = found;
      const [out, inputs] = slot.module.shape as [number, number];
      const inner = g.linear(x, g.reshape(down, [slot.rank, inputs]));
      return g.add(base, g.linear(inner, g.reshape(up, [out, slot.rank])));
    },
    joined: (_, paths, x, base) => {
      const found = paths.flatMap((path) => byPath.get(path) ?? []);
      if (found.length === 0) return base;
      const isWhole = found.length === paths.length && areAlike(found);
      return isWhole ? joinedSum(g, x, base, found) : null;
    },
    conv2d: (_, path, x, base, window) => {
      const found = byPath.get(path);
      if (!found) return base;
      const { slot, down, up } = found;
      const inner = g.conv2d(x, g.reshape(down, slot.down.shape), undefined, window);
      return g.add(base, g.conv2d(inner, g.reshape(up, slot.up.shape)));
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
 * The gradient of a group's variable, from those of its factors, for an adapter of strength 1.
 *
 * @param gradients of `adapter.factors(layout)`, in that order; null counts as zeros
 * @returns [layout.size]
 */
export function flattenGradients(
  g: GraphBuilder,
  layout: LoraLayout,
  gradients: readonly (Node | null)[],
): Node {
  const parts = layout.slots
    .flatMap(({ down, up }) => [down, up])
    .map(({ offset, size }, i) => ({ offset, node: gradients[i] ?? g.constant(0, [size]) }))
    .sort((a, b) => a.offset - b.offset);
  // All at once, so that executors can gather each gradient as soon as it is there; scaled afterwards.
  const whole = g.concat(
    parts.map(({ node }) => node),
    0,
  );
  const ranges = scaledRanges(layout);
  if (ranges.every(({ scale }) => scale === 1)) return whole;
  const rest = ranges.reduce((last, { end }) => Math.max(last, end), 0);
  const downs = ranges.map(({ scale, start, end }) =>
    g.scale(g.sliceAxis(whole, 0, start, end), scale),
  );
  return g.concat([...downs, g.sliceAxis(whole, 0, rest, layout.size)], 0);
}
