/**
 * @file Factors that the loss does not depend on, such as those of the last block of a text encoder that
 * is read at the block before. An optimizer has to leave them alone, as PyTorch's do with parameters
 * that have no gradient: weight decay would change them all the same.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import type { Node } from '../graph/ops.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';

/** A part of a group's variable, in elements. */
export interface IdleRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The parts of a layout's variable without gradient.
 * @param gradients of the layout's factors, down and up in turn; null where there is none
 */
export function idleRanges(
  { slots }: LoraLayout,
  gradients: readonly (Node | null)[],
): IdleRange[] {
  const ranges: IdleRange[] = [];
  const missing = slots
    .flatMap(({ down, up }) => [down, up])
    .filter((_, i) => !gradients[i])
    .sort((a, b) => a.offset - b.offset);
  for (const { offset, size } of missing) {
    const last = ranges.at(-1);
    if (last?.end === offset) ranges.splice(-1, 1, { start: last.start, end: offset + size });
    else ranges.push({ start: offset, end: offset + size });
  }
  return ranges;
}

/** `next` with the elements of `idle` taken from `before`; both [p]. */
export function keepIdle(
  g: GraphBuilder,
  next: Node,
  before: Node,
  idle: readonly IdleRange[],
): Node {
  if (idle.length === 0) return next;
  const parts: Node[] = [];
  let at = 0;
  for (const { start, end } of idle) {
    if (start > at) parts.push(g.sliceAxis(next, 0, at, start));
    parts.push(g.sliceAxis(before, 0, start, end));
    at = end;
  }
  const size = next.shape[0]!;
  if (at < size) parts.push(g.sliceAxis(next, 0, at, size));
  return g.concat(parts, 0);
}
