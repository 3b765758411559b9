/** @file The outlines of the shapes that scenes are made of, about 1 in radius, around the origin. */

import { ellipse, type Outline } from './canvas.ts';

/** Corners at angles and radii: `corners` of them, from the top on, clockwise. */
function polar(corners: number, radius: (corner: number) => number): number[] {
  return Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners - Math.PI / 2;
    return [radius(i) * Math.cos(angle), radius(i) * Math.sin(angle)];
  }).flat();
}

/** Moves an outline down by `dy`. */
function lower(outline: Outline, dy: number): number[] {
  return outline.map((value, i) => (i % 2 === 1 ? value + dy : value));
}

/** The heart curve (Weisstein, "Heart Curve", MathWorld, the sixth), upright and about 2 wide. */
function heart(): number[] {
  return Array.from({ length: 56 }, (_, i) => {
    const t = (2 * Math.PI * i) / 56;
    const x = 16 * Math.sin(t) ** 3;
    const y = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
    return [x / 16.5, -(y + 2.5) / 16.5];
  }).flat();
}

const arm = 0.32;
const reach = 0.98;

/** Outlines of each shape; those of a ring are its outer edge and its hole. */
export const shapeOutlines = {
  circle: [ellipse(0, 0, 0.93)],
  square: [[-0.82, -0.82, 0.82, -0.82, 0.82, 0.82, -0.82, 0.82]],
  triangle: [
    lower(
      polar(3, () => 1.16),
      0.26,
    ),
  ],
  star: [
    lower(
      polar(10, (corner) => (corner % 2 === 0 ? 1.14 : 0.47)),
      0.1,
    ),
  ],
  heart: [heart()],
  ring: [ellipse(0, 0, 0.98), ellipse(0, 0, 0.52)],
  cross: [
    [
      [-arm, -reach, arm, -reach, arm, -arm],
      [reach, -arm, reach, arm, arm, arm],
      [arm, reach, -arm, reach, -arm, arm],
      [-reach, arm, -reach, -arm, -arm, -arm],
    ].flat(),
  ],
  diamond: [[0, -1.14, 0.7, 0, 0, 1.14, -0.7, 0]],
} as const satisfies Record<string, readonly Outline[]>;

export type ShapeName = keyof typeof shapeOutlines;

/** Names of all shapes. */
export const shapeNames = Object.keys(shapeOutlines) as readonly ShapeName[];
