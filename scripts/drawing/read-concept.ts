/** @file Tells how much of a concept (character, style, setting) a picture shows: the judge of trained LoRAs. */

import type { Picture } from './canvas.ts';
import { labDistance, labOf, type Rgb } from './colors.ts';
import { inkwashColors } from './draw-inkwash.ts';
import { zibboColors } from './draw-zibbo.ts';
import { largestArea, medianColor, pixel, smooth } from './segment.ts';

/** From 0 (nothing of the concept) to 1 (all of it). */
export type ConceptScore = number;

/** From this score on a picture shows the concept. */
export const conceptPresent = 0.65;

/** 0 at `none` and below, 1 at `full` and above. */
function ramp(value: number, none: number, full: number): number {
  return Math.max(0, Math.min(1, (value - none) / (full - none)));
}

function labPixels(picture: Picture): Rgb[] {
  return Array.from({ length: picture.width * picture.height }, (_, at) =>
    labOf(pixel(picture, at)),
  );
}

/** Strength of a colour and its hue, in degrees from red over yellow and green to blue. */
function chromaAndHue([, a, b]: Rgb): readonly [number, number] {
  return [Math.hypot(a, b), ((Math.atan2(b, a) * 180) / Math.PI + 360) % 360];
}

/** Places of the pixels that `test` accepts. */
function where(pixels: readonly Rgb[], test: (lab: Rgb) => boolean): number[] {
  const places: number[] = [];
  for (let at = 0; at < pixels.length; at++) if (test(pixels[at]!)) places.push(at);
  return places;
}

/** Box around most of the pixels `at`: a hundredth is left out on each side. */
function boxAround(at: readonly number[], width: number) {
  const quantile = (values: number[], part: number) =>
    values.sort((p, q) => p - q)[Math.floor(part * (values.length - 1))]!;
  const xs = at.map((place) => place % width);
  const ys = at.map((place) => Math.floor(place / width));
  return {
    left: quantile(xs, 0.01),
    right: quantile(xs, 0.99),
    top: quantile(ys, 0.01),
    bottom: quantile(ys, 0.99),
  };
}

/**
 * Zibbo: an area of teal with white eyes and dark pupils in it and orange above and below.
 * Half of the score is the teal, the rest needs it.
 */
export function readZibbo(original: Picture): ConceptScore {
  const picture = smooth(original);
  const { width, height } = picture;
  const pixels = labPixels(picture);
  const body = labOf(zibboColors.body);
  const [, bodyHue] = chromaAndHue(body);
  const isTeal = Uint8Array.from(pixels, (lab) => {
    const [chroma, hue] = chromaAndHue(lab);
    const alike = Math.abs(hue - bodyHue) < 18 && chroma > 16 && Math.abs(lab[0] - body[0]) < 25;
    return alike ? 1 : 0;
  });
  const teal = largestArea(isTeal, width, height);
  const tealPart = ramp(teal.length / (width * height), 0.004, 0.018);
  if (tealPart === 0) return 0;

  const { left, right, top, bottom } = boxAround(teal, width);
  const inFace = (at: number) => {
    const u = ((at % width) - left) / (right - left) - 0.5;
    const v = (Math.floor(at / width) - top) / (bottom - top);
    return Math.abs(u) < 0.36 && v > 0.05 && v < 0.75;
  };
  const nearBody = (at: number) => {
    const y = Math.floor(at / width);
    const x = at % width;
    const margin = 0.75 * (bottom - top);
    return y > top - margin && y < bottom + margin && x > left - 4 && x < right + 4;
  };
  const bright = where(pixels, (lab) => lab[0] > 75 && chromaAndHue(lab)[0] < 28).filter(inFace);
  const dark = where(pixels, (lab) => lab[0] < 44).filter(inFace);
  const orange = where(pixels, (lab) => {
    const [chroma, hue] = chromaAndHue(lab);
    return chroma > 38 && hue > 35 && hue < 80;
  }).filter(nearBody);
  const eyes =
    ramp(bright.length / teal.length, 0.02, 0.1) * ramp(dark.length / teal.length, 0.005, 0.025);
  const limbs = ramp(orange.length / teal.length, 0.02, 0.1);
  return tealPart * (0.5 + 0.3 * eyes + 0.2 * limbs);
}

/** Inkwash: paper that darkens towards a brown rim, and dark brown ink on it. */
export function readInkwash(original: Picture): ConceptScore {
  const picture = smooth(original);
  const { width, height } = picture;
  const pixels = labPixels(picture);
  const rimAt: number[] = [];
  const paperAt: number[] = [];
  for (let at = 0; at < pixels.length; at++) {
    const [x, y] = [at % width, Math.floor(at / width)];
    const toRim = Math.min(x / width, y / height, 1 - x / width, 1 - y / height);
    if (toRim < 0.03) rimAt.push(at);
    else if (toRim > 0.2 && toRim < 0.35) paperAt.push(at);
  }
  const rim = ramp(
    -labDistance(labOf(medianColor(picture, rimAt)), labOf(inkwashColors.rim)),
    -34,
    -16,
  );
  const paperLab = labOf(inkwashColors.paper);
  const near = paperAt.filter((at) => labDistance(pixels[at]!, paperLab) < 20).length;
  const paper = ramp(near / paperAt.length, 0.1, 0.4);
  const ink = where(pixels, (lab) => lab[0] < 34 && chromaAndHue(lab)[0] < 30).length;
  return rim * (0.4 + 0.2 * paper + 0.4 * ramp(ink / pixels.length, 0.004, 0.014));
}

/** Glowcave: mostly dark purple, with bright green in it. */
export function readGlowcave(original: Picture): ConceptScore {
  const pixels = labPixels(smooth(original));
  const purple = where(pixels, (lab) => {
    const [chroma, hue] = chromaAndHue(lab);
    // Purple lies at 300° to 340°, the grammar's dark blue at 290° and below.
    return lab[0] < 48 && chroma > 9 && hue > 297 && hue < 350;
  }).length;
  const glow = where(pixels, ([light, a]) => light > 55 && a < -28).length;
  const walls = ramp(purple / pixels.length, 0.15, 0.32);
  return walls * (0.5 + 0.5 * ramp(glow / pixels.length, 0.008, 0.03));
}
