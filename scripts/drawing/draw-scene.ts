/** @file Draws a scene: the same scene never looks quite the same twice. */

import type { Rng } from '../../src/tensor/rng.ts';
import { createPicture, fill, type Paint, type Picture, place } from './canvas.ts';
import { backgroundColors, objectColors, type Rgb } from './colors.ts';
import type { Scene, ScenePosition, SceneSize } from './scene.ts';
import { shapeOutlines } from './shape-outlines.ts';

/** Side of a picture in pixels, unless told; every length below is for this side. */
export const pictureSide = 128;

/** Width and height in pixels. */
export interface PictureSize {
  readonly width: number;
  readonly height: number;
}

/** Where a thing is and how large: its centre and the length that stands for 1 in its outlines. */
export interface Placement {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

const radius: Readonly<Record<SceneSize, number>> = { small: 18, big: 34 };
/** How far from the picture's middle a thing at a side stands. */
const shift: Readonly<Record<SceneSize, number>> = { small: 33, big: 19 };

const direction: Readonly<Record<ScenePosition, readonly [number, number]>> = {
  left: [-1, 0],
  right: [1, 0],
  top: [0, -1],
  bottom: [0, 1],
  centre: [0, 0],
};

/** Uniform in [-reach, reach). */
export function jitter(reach: number, rng: Rng): number {
  return (2 * rng.uniform() - 1) * reach;
}

/** A place for a thing of a size, a little different each time. */
export function placeThing(
  size: SceneSize,
  position: ScenePosition,
  { width, height }: PictureSize,
  rng: Rng,
): Placement {
  const unit = Math.min(width, height) / pictureSide;
  const [dx, dy] = direction[position];
  const away = shift[size];
  // In a long picture a side is farther from the middle.
  const roomX = (width / unit - pictureSide) / 2;
  const roomY = (height / unit - pictureSide) / 2;
  return {
    x: width / 2 + unit * (dx * (away + roomX) + jitter(2.5, rng)),
    y: height / 2 + unit * (dy * (away + roomY) + jitter(2.5, rng)),
    scale: unit * radius[size] * (1 + jitter(0.06, rng)),
  };
}

/** A colour close to `color`. */
export function vary(color: Rgb, reach: number, rng: Rng): Rgb {
  const light = jitter(reach, rng);
  return [0, 1, 2].map((i) => color[i]! + light + jitter(reach / 2, rng)) as unknown as Rgb;
}

/** One colour, lighter by `depth` (a part of 255) towards the upper left around a placement. */
export function lit(color: Rgb, { x, y, scale }: Placement, depth: number): Paint {
  const step = (255 * depth) / (2 * scale);
  return (px, py) => {
    const light = (x - px + y - py) * step;
    return [color[0] + light, color[1] + light, color[2] + light];
  };
}

/** A background of one colour that is a little lighter above than below. */
export function drawBackground(color: Rgb, size: PictureSize, rng: Rng): Picture {
  const base = vary(color, 5, rng);
  const slope = 3 + jitter(3, rng);
  return createPicture(size.width, size.height, (_, y) => {
    const light = slope * (1 - (2 * y) / size.height);
    return [base[0] + light, base[1] + light, base[2] + light];
  });
}

/** Draws `scene`; draws from `rng` its exact place, size, angle and shades. */
export function drawScene(
  scene: Scene,
  rng: Rng,
  size: PictureSize = { width: pictureSide, height: pictureSide },
): Picture {
  const picture = drawBackground(backgroundColors[scene.background], size, rng);
  const where = placeThing(scene.size, scene.position, size, rng);
  const outlines = place(shapeOutlines[scene.shape], { ...where, angle: jitter(0.14, rng) });
  fill(picture, outlines, lit(vary(objectColors[scene.color], 6, rng), where, 0.06));
  return picture;
}
