/** @file A picture in memory, and filling outlines in it with smooth edges. */

import type { Rgb } from './colors.ts';

/** Pixels row by row, three bytes each: red, green, blue. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** u8[height, width, 3] */
  readonly data: Uint8Array;
}

/** A closed line through points x, y, x, y, … in pixels. */
export type Outline = readonly number[];

/** The colour of the pixel whose centre is at x, y. */
export type Paint = (x: number, y: number) => Rgb;

/** Lines sampled in each pixel row; along a line the coverage is exact. */
const linesPerRow = 4;

/** A picture in which `paint` says every pixel. */
export function createPicture(width: number, height: number, paint: Paint): Picture {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      const [red, green, blue] = paint(x + 0.5, y + 0.5);
      data[at] = clampByte(red);
      data[at + 1] = clampByte(green);
      data[at + 2] = clampByte(blue);
    }
  }
  return { width, height, data };
}

/**
 * Fills what lies inside of an odd number of `outlines`, so that an outline within another cuts a hole.
 *
 * @param opacity from 0 (nothing is drawn) to 1
 */
export function fill(
  picture: Picture,
  outlines: readonly Outline[],
  paint: Paint,
  opacity = 1,
): void {
  const { width, height } = picture;
  const ys = outlines.flatMap((outline) => outline.filter((_, i) => i % 2 === 1));
  const top = Math.max(0, Math.floor(Math.min(...ys)));
  const bottom = Math.min(height, Math.ceil(Math.max(...ys)));
  const coverage = new Float32Array(width);
  for (let y = top; y < bottom; y++) {
    coverage.fill(0);
    for (let line = 0; line < linesPerRow; line++) {
      const crossings = crossingsAt(outlines, y + (line + 0.5) / linesPerRow);
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        addSpan(coverage, crossings[i]!, crossings[i + 1]!, 1 / linesPerRow);
      }
    }
    for (let x = 0; x < width; x++) {
      if (coverage[x]! > 0) blend(picture, x, y, paint(x + 0.5, y + 0.5), coverage[x]! * opacity);
    }
  }
}

/** Where the outlines cross the horizontal line at `y`, from left to right. */
function crossingsAt(outlines: readonly Outline[], y: number): number[] {
  const crossings: number[] = [];
  for (const outline of outlines) {
    let fromX = outline[outline.length - 2]!;
    let fromY = outline[outline.length - 1]!;
    for (let i = 0; i < outline.length; i += 2) {
      const toX = outline[i]!;
      const toY = outline[i + 1]!;
      if (fromY > y !== toY > y) {
        crossings.push(fromX + ((y - fromY) / (toY - fromY)) * (toX - fromX));
      }
      fromX = toX;
      fromY = toY;
    }
  }
  return crossings.sort((a, b) => a - b);
}

/** Adds `weight` times the part of each pixel between `from` and `to`. */
function addSpan(coverage: Float32Array, from: number, to: number, weight: number): void {
  const start = Math.max(0, from);
  const end = Math.min(coverage.length, to);
  for (let x = Math.floor(start); x < end; x++) {
    coverage[x]! += weight * (Math.min(end, x + 1) - Math.max(start, x));
  }
}

function blend(picture: Picture, x: number, y: number, color: Rgb, part: number): void {
  const at = (y * picture.width + x) * 3;
  for (let channel = 0; channel < 3; channel++) {
    const old = picture.data[at + channel]!;
    picture.data[at + channel] = clampByte(old + (color[channel]! - old) * part);
  }
}

function clampByte(value: number): number {
  return Math.max(0, Math.min(255, Math.round(value)));
}

/** Corners of a drawn ellipse: no edge is seen at the sizes of our pictures. */
const corners = 48;

/** An ellipse as an outline. */
export function ellipse(x: number, y: number, radiusX: number, radiusY = radiusX): Outline {
  return Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners;
    return [x + radiusX * Math.cos(angle), y + radiusY * Math.sin(angle)];
  }).flat();
}

/** A straight stroke of a width, with round ends, as an outline. */
export function stroke(
  fromX: number,
  fromY: number,
  toX: number,
  toY: number,
  width: number,
): Outline {
  const direction = Math.atan2(toY - fromY, toX - fromX);
  const cap = 6;
  return Array.from({ length: 2 * (cap + 1) }, (_, i) => {
    const atEnd = i <= cap;
    const turn = ((atEnd ? i : i - 1) / cap) * Math.PI - Math.PI / 2;
    const [x, y] = atEnd ? [toX, toY] : [fromX, fromY];
    return [
      x + (width / 2) * Math.cos(direction + turn),
      y + (width / 2) * Math.sin(direction + turn),
    ];
  }).flat();
}

/** Turns outlines by `angle` (radians, clockwise), scales them and puts their origin at x, y. */
export function place(
  outlines: readonly Outline[],
  { x, y, scale, angle = 0 }: { x: number; y: number; scale: number; angle?: number },
): Outline[] {
  const cos = Math.cos(angle) * scale;
  const sin = Math.sin(angle) * scale;
  return outlines.map((outline) => {
    const placed = new Array<number>(outline.length);
    for (let i = 0; i < outline.length; i += 2) {
      placed[i] = x + cos * outline[i]! - sin * outline[i + 1]!;
      placed[i + 1] = y + sin * outline[i]! + cos * outline[i + 1]!;
    }
    return placed;
  });
}
