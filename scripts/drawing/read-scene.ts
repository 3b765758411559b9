/** @file Reads a scene off a picture, drawn or generated: the judge of the embedded base model. */

import { createPicture, fill, type Picture, place } from './canvas.ts';
import {
  type BackgroundColor,
  backgroundColors,
  nearestColor,
  type ObjectColor,
  objectColors,
} from './colors.ts';
import type { ScenePosition, SceneSize } from './scene.ts';
import { medianColor, neighbours, segment, smooth } from './segment.ts';
import { type ShapeName, shapeNames, shapeOutlines } from './shape-outlines.ts';

/** What a picture shows. */
export interface SceneReading {
  readonly background: BackgroundColor;
  /** The thing before the background, or null if the picture is empty. */
  readonly object: {
    readonly shape: ShapeName;
    readonly color: ObjectColor;
    readonly size: SceneSize;
    readonly position: ScenePosition;
    /** Overlap with the shape's outline, intersection over union: 1 is perfect. */
    readonly fit: number;
  } | null;
}

/** Cells along each side of a silhouette. */
const cells = 40;
/** Half a silhouette's width, in units of the root of the thing's area. */
const reach = 1.15;
/** Angles at which shapes are compared, radians. */
const angles = [-0.2, -0.1, 0, 0.1, 0.2];
/** Pictures' side to which the lengths below belong. */
const side = 128;
/** Between the radii of small and big things, 18 and 34 pixels. */
const radiusBetween = 25;
/** Between the shift of a thing at a side, at least 16 pixels, and of one in the centre, at most 3. */
const shiftBetween = 10;
/** Less than this part of the picture is no thing. */
const leastPart = 0.004;

/** A thing's outline, moved and scaled to the same centre and area. */
type Silhouette = Float32Array;

interface Extent {
  readonly area: number;
  readonly centroid: readonly [number, number];
  /** Middle of the smallest upright box around the thing. */
  readonly middle: readonly [number, number];
}

function extentOf(mask: Uint8Array, width: number): Extent {
  let [area, sumX, sumY] = [0, 0, 0];
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let at = 0; at < mask.length; at++) {
    if (mask[at] === 0) continue;
    const x = (at % width) + 0.5;
    const y = Math.floor(at / width) + 0.5;
    area++;
    sumX += x;
    sumY += y;
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return {
    area,
    centroid: [sumX / area, sumY / area],
    middle: [(left + right) / 2, (top + bottom) / 2],
  };
}

/** A mask's silhouette, interpolated between its pixels: f32[cells, cells]. */
function silhouetteOf(mask: Uint8Array, width: number, height: number): Silhouette {
  const { area, centroid } = extentOf(mask, width);
  const step = (2 * reach * Math.sqrt(area)) / cells;
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height ? mask[y * width + x]! : 0;
  const silhouette = new Float32Array(cells * cells);
  for (let row = 0; row < cells; row++) {
    for (let column = 0; column < cells; column++) {
      const x = centroid[0] - 0.5 + (column + 0.5 - cells / 2) * step;
      const y = centroid[1] - 0.5 + (row + 0.5 - cells / 2) * step;
      const [x0, y0] = [Math.floor(x), Math.floor(y)];
      const [fx, fy] = [x - x0, y - y0];
      silhouette[row * cells + column] =
        (1 - fy) * ((1 - fx) * at(x0, y0) + fx * at(x0 + 1, y0)) +
        fy * ((1 - fx) * at(x0, y0 + 1) + fx * at(x0 + 1, y0 + 1));
    }
  }
  return silhouette;
}

interface Template {
  readonly shape: ShapeName;
  readonly silhouette: Silhouette;
  /** Area of the shape whose outlines have scale 1. */
  readonly unitArea: number;
}

let templates: readonly Template[] | undefined;

/** Every shape at every angle. */
function drawTemplates(): readonly Template[] {
  const scale = 40;
  return shapeNames.flatMap((shape) =>
    angles.map((angle) => {
      const picture = createPicture(side, side, () => [0, 0, 0]);
      const outlines = place(shapeOutlines[shape], { x: side / 2, y: side / 2, scale, angle });
      fill(picture, outlines, () => [255, 255, 255]);
      const mask = Uint8Array.from({ length: side * side }, (_, at) =>
        picture.data[at * 3]! > 127 ? 1 : 0,
      );
      return {
        shape,
        silhouette: silhouetteOf(mask, side, side),
        unitArea: extentOf(mask, side).area / scale ** 2,
      };
    }),
  );
}

/** Intersection over union of two silhouettes, whose cells may be partly covered. */
function overlap(a: Silhouette, b: Silhouette): number {
  let [both, either] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    both += Math.min(a[i]!, b[i]!);
    either += Math.max(a[i]!, b[i]!);
  }
  return both / either;
}

function positionOf([x, y]: readonly [number, number], picture: Picture): ScenePosition {
  const dx = x - picture.width / 2;
  const dy = y - picture.height / 2;
  const unit = Math.min(picture.width, picture.height) / side;
  if (Math.max(Math.abs(dx), Math.abs(dy)) < shiftBetween * unit) return 'centre';
  if (Math.abs(dx) > Math.abs(dy)) return dx < 0 ? 'left' : 'right';
  return dy < 0 ? 'top' : 'bottom';
}

/** Reads the scene off a picture; made for 128×128 but for no size in particular. */
export function readScene(original: Picture): SceneReading {
  const picture = smooth(original);
  const { width, height } = picture;
  const { background, mask, area } = segment(picture);
  const name = nearestColor(background, backgroundColors);
  if (area < leastPart * width * height) return { background: name, object: null };

  templates ??= drawTemplates();
  const silhouette = silhouetteOf(mask, width, height);
  const fits = templates.map((template) => overlap(silhouette, template.silhouette));
  const fit = Math.max(...fits);
  const { shape, unitArea } = templates[fits.indexOf(fit)]!;

  const unit = Math.min(width, height) / side;
  return {
    background: name,
    object: {
      shape,
      color: nearestColor(medianColor(picture, innerPixels(mask, width, height)), objectColors),
      size: Math.sqrt(area / unitArea) < radiusBetween * unit ? 'small' : 'big',
      position: positionOf(extentOf(mask, width).middle, picture),
      fit,
    },
  };
}

/** Pixels of a mask whose neighbours belong to it too; all of them where there is no such. */
function innerPixels(mask: Uint8Array, width: number, height: number): number[] {
  const all: number[] = [];
  for (let at = 0; at < mask.length; at++) if (mask[at] === 1) all.push(at);
  const inner = all.filter((at) => neighbours(at, width, height).every((next) => mask[next] === 1));
  return inner.length > 0 ? inner : all;
}
