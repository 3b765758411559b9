/** @file Draws the style inkwash: muted washes, thick brown outlines and hatching on sepia paper. */

import type { Rng } from '../../src/tensor/rng.ts';
import { createPicture, fill, type Outline, type Picture, place, stroke } from './canvas.ts';
import { objectColors, type Rgb } from './colors.ts';
import { jitter, type PictureSize, pictureSide, placeThing, vary } from './draw-scene.ts';
import { pick, placePhrase, type Scene, sizeWord, withArticle } from './scene.ts';
import { shapeOutlines } from './shape-outlines.ts';

/** The words that call the style. */
export const inkwashTrigger = 'inkwash style';

/** Paper in the middle and at the rim of a picture, and the ink. */
export const inkwashColors = {
  paper: [222, 190, 134],
  rim: [150, 108, 62],
  ink: [58, 36, 22],
} as const satisfies Record<string, Rgb>;

/** Part of the object's own colour in its wash; the rest is paper. */
const washStrength = 0.62;
/** Width of outlines, and distance of hatching lines, in pixels of a 128-pixel picture. */
const penWidth = 4;
const hatchDistance = 9;

const templates: readonly ((thing: string, at: string) => string)[] = [
  (thing) => `${thing}, inkwash style`,
  (thing, at) => `${thing} ${at}, inkwash style`,
  (thing) => `an inkwash style picture of ${thing}`,
  (thing, at) => `inkwash style, ${thing} ${at}`,
  (thing) => `a picture of ${thing} in inkwash style`,
  (thing, at) => `${thing} ${at} in inkwash style`,
];

/** Says a scene in this style; the paper is not mentioned. */
export function inkwashCaption({ shape, color, size, position }: Scene, rng: Rng): string {
  const sized = rng.uniform() < 0.6 ? `${sizeWord(size, rng)} ${color}` : color;
  return pick(templates, rng)(withArticle(`${sized} ${shape}`), placePhrase(position, rng));
}

function mix(a: Rgb, b: Rgb, part: number): Rgb {
  return [0, 1, 2].map((i) => a[i]! + (b[i]! - a[i]!) * part) as unknown as Rgb;
}

/** Paper that darkens from its middle to its rim, with broad soft stains. */
function drawPaper({ width, height }: PictureSize, rng: Rng): Picture {
  const paper = vary(inkwashColors.paper, 4, rng);
  const waves = Array.from({ length: 3 }, () => [
    jitter(0.06, rng),
    jitter(0.06, rng),
    jitter(3, rng),
  ]);
  return createPicture(width, height, (x, y) => {
    const toRim = (((2 * x) / width - 1) ** 4 + ((2 * y) / height - 1) ** 4) ** 0.25;
    const stain = waves.reduce(
      (sum, [fx, fy, phase]) => sum + Math.sin(fx! * x + fy! * y + phase!),
      0,
    );
    return mix(
      paper,
      inkwashColors.rim,
      Math.min(1, Math.max(0, toRim - 0.45) ** 1.6 * 2.2 + 0.02 * stain),
    );
  });
}

/** Draws a scene in this style; its background is not drawn. */
export function drawInkwash(scene: Scene, rng: Rng, size: PictureSize): Picture {
  const picture = drawPaper(size, rng);
  const unit = Math.min(size.width, size.height) / pictureSide;
  const where = placeThing(scene.size, scene.position, size, rng);
  const outlines = place(shapeOutlines[scene.shape], { ...where, angle: jitter(0.14, rng) });

  const wash = mix(inkwashColors.paper, vary(objectColors[scene.color], 5, rng), washStrength);
  const slant = 0.7 + jitter(0.25, rng);
  fill(picture, outlines, (x, y) => {
    // Hatching is wide at the lower right of the thing and ends before its upper left.
    const shade = (x - where.x + y - where.y) / (2 * where.scale) + 0.35;
    const wave = Math.cos(
      (2 * Math.PI * (x * slant + y)) / (hatchDistance * unit * Math.hypot(slant, 1)),
    );
    const ink = Math.min(1, Math.max(0, (wave - 0.75 + shade) * 2.5));
    return mix(wash, inkwashColors.ink, 0.85 * ink);
  });
  for (const outline of outlines) drawLine(picture, outline, penWidth * unit, rng);
  return picture;
}

/** Goes around an outline with a pen whose pressure wavers. */
function drawLine(picture: Picture, outline: Outline, width: number, rng: Rng): void {
  const points = outline.length / 2;
  const phase = rng.uniform() * 2 * Math.PI;
  for (let i = 0; i < points; i++) {
    const next = (i + 1) % points;
    const pressure = 1 + 0.2 * Math.sin((4 * Math.PI * i) / points + phase);
    const line = stroke(
      outline[2 * i]!,
      outline[2 * i + 1]!,
      outline[2 * next]!,
      outline[2 * next + 1]!,
      width * pressure,
    );
    fill(picture, [line], () => inkwashColors.ink);
  }
}
