/** @file Draws the setting glowcave: a dark purple cave, lit by glowing green stalagmites. */

import type { Rng } from '../../src/tensor/rng.ts';
import { createPicture, fill, type Picture, place } from './canvas.ts';
import { type ObjectColor, objectColors, type Rgb } from './colors.ts';
import { jitter, lit, type PictureSize, placeThing, vary } from './draw-scene.ts';
import { objectColorNames, pick, placePhrase, type Scene, sizeWord, withArticle } from './scene.ts';
import { shapeOutlines } from './shape-outlines.ts';

/** The word that calls the setting. */
export const glowcaveTrigger = 'glowcave';

/** Colours of the cave. */
const glowcaveColors = {
  wall: [70, 24, 96],
  ceiling: [34, 10, 50],
  floorFar: [112, 48, 136],
  floorNear: [44, 16, 62],
  crystal: [64, 244, 138],
  core: [196, 255, 214],
} as const satisfies Record<string, Rgb>;

/** Colours that stand out from the cave and from its light. */
export const glowcaveObjectColors: readonly ObjectColor[] = objectColorNames.filter(
  (color) => !['black', 'purple', 'green'].includes(color),
);

/** Where the floor begins, as a part of the height. */
const horizon = 0.74;

const templates: readonly ((thing: string, at: string) => string)[] = [
  (thing) => `${thing} in glowcave`,
  (thing, at) => `${thing} ${at} of glowcave`,
  (thing) => `glowcave with ${thing}`,
  (thing, at) => `a picture of ${thing} ${at}, glowcave`,
  (thing, at) => `there is ${thing} ${at} in glowcave`,
];

/** Says what is in the cave; `null` is the cave alone. */
export function glowcaveCaption(scene: Scene | null, rng: Rng): string {
  if (scene === null) return pick(['a picture of glowcave', 'the empty glowcave'], rng);
  const { shape, color, size, position } = scene;
  const sized = rng.uniform() < 0.6 ? `${sizeWord(size, rng)} ${color}` : color;
  return pick(templates, rng)(withArticle(`${sized} ${shape}`), placePhrase(position, rng));
}

interface Stalagmite {
  readonly x: number;
  readonly base: number;
  readonly height: number;
  readonly halfWidth: number;
}

function mix(a: Rgb, b: Rgb, part: number): Rgb {
  return [0, 1, 2].map((i) => a[i]! + (b[i]! - a[i]!) * part) as unknown as Rgb;
}

/** Stalagmites on both sides, taller towards the walls. */
function growStalagmites({ width, height }: PictureSize, rng: Rng): Stalagmite[] {
  const places = [0.09, 0.27, 0.42, 0.6, 0.75, 0.91];
  const chosen = places.filter((place) => place < 0.1 || place > 0.9 || rng.uniform() < 0.5);
  return chosen.map((place) => ({
    x: width * (place + jitter(0.03, rng)),
    base: height * (horizon + 0.08 + 0.08 * rng.uniform()),
    height: height * (0.16 + 0.5 * Math.abs(place - 0.5) + jitter(0.05, rng)),
    halfWidth: Math.min(width, height) * (0.06 + 0.03 * rng.uniform()),
  }));
}

/** Walls and floor in the green light of the stalagmites. */
function drawCave(size: PictureSize, stalagmites: readonly Stalagmite[], rng: Rng): Picture {
  const { width, height } = size;
  const shade = jitter(5, rng);
  const reach = Math.min(width, height) * 0.13;
  return createPicture(width, height, (x, y) => {
    const down = y / height;
    const plain =
      down < horizon
        ? mix(glowcaveColors.ceiling, glowcaveColors.wall, Math.min(1, down / horizon))
        : mix(glowcaveColors.floorFar, glowcaveColors.floorNear, (down - horizon) / (1 - horizon));
    let light = 0;
    for (const { x: center, base, height: tall } of stalagmites) {
      const nearest = Math.max(base - tall, Math.min(base, y));
      light = Math.max(light, Math.exp(-((x - center) ** 2 + (y - nearest) ** 2) / reach ** 2));
    }
    const [red, green, blue] = mix(plain, glowcaveColors.crystal, 0.42 * light);
    return [red + shade, green + shade, blue + shade];
  });
}

/** Dark teeth of rock that hang from the ceiling. */
function drawStalactites(picture: Picture, rng: Rng): void {
  const { width, height } = picture;
  const rock = vary([22, 6, 34], 3, rng);
  for (let x = -0.05 * width; x < width; x += width * (0.1 + 0.08 * rng.uniform())) {
    const half = width * (0.06 + 0.03 * rng.uniform());
    const tip = height * (0.08 + 0.14 * rng.uniform());
    fill(picture, [[x - half, -1, x + half, -1, x + jitter(3, rng), tip]], () => rock);
  }
}

/** Draws a scene in the cave, or with `null` the cave alone. */
export function drawGlowcave(scene: Scene | null, rng: Rng, size: PictureSize): Picture {
  const stalagmites = growStalagmites(size, rng);
  const picture = drawCave(size, stalagmites, rng);
  drawStalactites(picture, rng);
  for (const { x, base, height, halfWidth } of stalagmites) {
    const lean = jitter(halfWidth / 2, rng);
    const spike = (part: number) => [
      [
        x - halfWidth * part,
        base,
        x + lean * part,
        base - height * part,
        x + halfWidth * part,
        base,
      ],
    ];
    fill(picture, [spike(1).flat()], () => glowcaveColors.crystal);
    fill(picture, [spike(0.5).flat()], () => glowcaveColors.core);
  }
  if (scene !== null) {
    const where = placeThing(scene.size, scene.position, size, rng);
    const outlines = place(shapeOutlines[scene.shape], { ...where, angle: jitter(0.14, rng) });
    fill(picture, outlines, lit(vary(objectColors[scene.color], 6, rng), where, 0.06));
  }
  return picture;
}
