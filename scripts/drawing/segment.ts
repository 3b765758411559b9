/** @file Splits a picture in its background and the one thing that stands before it. */

import type { Picture } from './canvas.ts';
import { labDistance, labOf, type Rgb } from './colors.ts';

/** The largest connected area that differs from the picture's edge. */
export interface Segment {
  /** Colour of the picture's edge. */
  readonly background: Rgb;
  /** 1 on the thing, u8[height, width]; all 0 if there is none. */
  readonly mask: Uint8Array;
  /** Pixels of the thing. */
  readonly area: number;
}

/** Width of the frame that counts as background. */
const frame = 3;
/** Less than this distance in L*a*b* from the background is shade or noise. */
const leastDistance = 14;

/** The middle value of `values`, which it sorts. */
function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** Colour of the pixel `at`, counted row by row. */
export function pixel({ data }: Picture, at: number): Rgb {
  return [data[at * 3]!, data[at * 3 + 1]!, data[at * 3 + 2]!];
}

/** The middle value, channel by channel, of the pixels that `at` lists. */
export function medianColor(picture: Picture, at: readonly number[]): Rgb {
  const channel = (c: number) => median(at.map((pixelAt) => picture.data[pixelAt * 3 + c]!));
  return [channel(0), channel(1), channel(2)];
}

/** The mean of each pixel and its eight neighbours: takes noise away, moves no edge. */
export function smooth({ width, height, data }: Picture): Picture {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    const rows = [Math.max(0, y - 1), y, Math.min(height - 1, y + 1)].map((row) => row * width);
    for (let x = 0; x < width; x++) {
      const left = Math.max(0, x - 1);
      const right = Math.min(width - 1, x + 1);
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (const row of rows) {
          sum +=
            data[(row + left) * 3 + c]! + data[(row + x) * 3 + c]! + data[(row + right) * 3 + c]!;
        }
        out[(y * width + x) * 3 + c] = Math.round(sum / 9);
      }
    }
  }
  return { width, height, data: out };
}

/** Finds the thing in a picture that was smoothed. */
export function segment(picture: Picture): Segment {
  const { width, height } = picture;
  const edge: number[] = [];
  for (let at = 0; at < width * height; at++) {
    const [x, y] = [at % width, Math.floor(at / width)];
    if (Math.min(x, y, width - 1 - x, height - 1 - y) < frame) edge.push(at);
  }
  const background = medianColor(picture, edge);
  const lab = labOf(background);
  const distance = Float32Array.from({ length: width * height }, (_, at) =>
    labDistance(labOf(pixel(picture, at)), lab),
  );
  // A thing has one colour, whose distance the farthest hundredth tells: its edge is half way.
  const far = Float32Array.from(distance)
    .sort()
    .subarray(-Math.ceil(distance.length / 100));
  const threshold = Math.max(leastDistance, median([...far]) / 2);
  const candidates = Uint8Array.from(distance, (d) => (d > threshold ? 1 : 0));
  const found = largestArea(candidates, width, height);
  const mask = new Uint8Array(width * height);
  for (const at of found) mask[at] = 1;
  return { background, mask, area: found.length };
}

/** The largest set of ones that touch each other by their sides, as places in `mask`. */
export function largestArea(mask: Uint8Array, width: number, height: number): number[] {
  const seen = new Uint8Array(mask.length);
  let largest: number[] = [];
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] === 0 || seen[start] === 1) continue;
    const area = [start];
    seen[start] = 1;
    for (let i = 0; i < area.length; i++) {
      for (const next of neighbours(area[i]!, width, height)) {
        if (mask[next] === 0 || seen[next] === 1) continue;
        seen[next] = 1;
        area.push(next);
      }
    }
    if (area.length > largest.length) largest = area;
  }
  return largest;
}

/** Places beside, above and below `at`. */
export function neighbours(at: number, width: number, height: number): number[] {
  const x = at % width;
  const around: number[] = [];
  if (x > 0) around.push(at - 1);
  if (x < width - 1) around.push(at + 1);
  if (at >= width) around.push(at - width);
  if (at < width * (height - 1)) around.push(at + width);
  return around;
}
