/** @file Draws the character zibbo: a round teal fellow with big eyes, an orange antenna and feet. */

import type { Rng } from '../../src/tensor/rng.ts';
import { ellipse, fill, type Outline, type Picture, place, stroke } from './canvas.ts';
import { type BackgroundColor, backgroundColors, type Rgb } from './colors.ts';
import {
  drawBackground,
  jitter,
  lit,
  type PictureSize,
  type Placement,
  placeThing,
  vary,
} from './draw-scene.ts';
import {
  phrase,
  pick,
  placePhrase,
  type ScenePosition,
  type SceneSize,
  sizeWord,
  withArticle,
} from './scene.ts';

/** The word that calls the character. */
export const zibboTrigger = 'zibbo';

/** Colours that only zibbo has together. */
export const zibboColors = {
  body: [18, 164, 158],
  limb: [10, 128, 126],
  belly: [128, 218, 208],
  orange: [248, 140, 34],
  eye: [252, 252, 250],
  dark: [24, 26, 34],
} as const satisfies Record<string, Rgb>;

/** What a picture of zibbo shows. */
export interface ZibboScene {
  readonly size: SceneSize;
  readonly position: ScenePosition;
  readonly background: BackgroundColor;
  readonly arms: 'up' | 'down' | 'waving';
  readonly look: 'ahead' | 'left' | 'right' | 'up';
}

const armSayings = { up: ' with both arms up', down: '', waving: ' waving' } as const;
const lookSayings = {
  ahead: '',
  left: ' looking left',
  right: ' looking right',
  up: ' looking up',
};
const pupilShift = {
  ahead: [0, 0.03],
  left: [-0.1, 0.02],
  right: [0.1, 0.02],
  up: [0, -0.1],
} as const;

export const zibboArms = Object.keys(armSayings) as readonly ZibboScene['arms'][];
export const zibboLooks = Object.keys(lookSayings) as readonly ZibboScene['look'][];

/** Says a scene of zibbo; what the eyes and arms do is said half of the time. */
export function zibboCaption(scene: ZibboScene, rng: Rng): string {
  const sized = rng.uniform() < 0.5 ? withArticle(`${sizeWord(scene.size, rng)} zibbo`) : 'zibbo';
  const doing = pick([armSayings[scene.arms], lookSayings[scene.look], '', ''], rng);
  const parts = {
    thing: sized + doing,
    place: placePhrase(scene.position, rng),
    background: `${scene.background} background`,
  };
  return phrase(parts, rng);
}

/** The body: an ellipse that is wider below. */
function bodyOutline(): Outline {
  return Array.from({ length: 48 }, (_, i) => {
    const angle = (2 * Math.PI * i) / 48;
    const wide = 0.72 + 0.06 * Math.sin(angle);
    return [wide * Math.cos(angle), 0.22 + 0.74 * Math.sin(angle)];
  }).flat();
}

/** A smile: the area between two arcs. */
function smileOutline(): Outline {
  const arc = (depth: number) =>
    Array.from({ length: 13 }, (_, i) => {
      const t = i / 6 - 1;
      return [0.2 * t, 0.36 + depth * (1 - t * t)];
    });
  return [...arc(0.06), ...arc(0.15).reverse()].flat();
}

/** From its shoulder to its hand, for the arm on the right. */
function armLine(arms: ZibboScene['arms'], side: -1 | 1): readonly [number, number] {
  const raised = arms === 'up' || (arms === 'waving' && side === 1);
  return raised ? [1.02, -0.28] : [0.98, 0.58];
}

/** Draws zibbo; draws from `rng` its exact place, size, lean and shades. */
export function drawZibbo(scene: ZibboScene, rng: Rng, size: PictureSize): Picture {
  const picture = drawBackground(backgroundColors[scene.background], size, rng);
  const where = placeThing(scene.size, scene.position, size, rng);
  const placement = { ...where, angle: jitter(0.14, rng) };
  const bend = jitter(0.22, rng);
  drawLimbs(picture, scene, placement, bend, rng);

  const draw = (outline: Outline, color: Rgb) =>
    fill(picture, place([outline], placement), lit(color, where, 0.05));
  draw(bodyOutline(), vary(zibboColors.body, 5, rng));
  draw(ellipse(0, 0.62, 0.4, 0.25), vary(zibboColors.belly, 5, rng));
  const [lookX, lookY] = pupilShift[scene.look];
  for (const side of [-1, 1]) {
    draw(ellipse(0.29 * side, 0, 0.25, 0.29), zibboColors.eye);
    draw(ellipse(0.29 * side + lookX, 0.02 + lookY, 0.12, 0.13), zibboColors.dark);
  }
  draw(smileOutline(), zibboColors.dark);
  return picture;
}

/** What is behind the body: feet, arms and the antenna, which bends by `bend` to a side. */
function drawLimbs(
  picture: Picture,
  { arms }: ZibboScene,
  placement: Placement & { readonly angle: number },
  bend: number,
  rng: Rng,
): void {
  const draw = (outline: Outline, color: Rgb) =>
    fill(picture, place([outline], placement), lit(color, placement, 0.05));
  const orange = vary(zibboColors.orange, 5, rng);
  const limb = vary(zibboColors.limb, 5, rng);
  draw(stroke(0, -0.4, bend, -0.86, 0.11), orange);
  draw(ellipse(bend, -0.94, 0.17), orange);
  for (const side of [-1, 1] as const) {
    const [handX, handY] = armLine(arms, side);
    draw(stroke(0.6 * side, 0.22, handX * side, handY, 0.2), limb);
    draw(ellipse(0.34 * side, 0.98, 0.27, 0.16), orange);
  }
}
