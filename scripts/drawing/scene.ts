/** @file The grammar of scenes: what a drawn picture shows, and how it is said. */

import type { Rng } from '../../src/tensor/rng.ts';
import {
  type BackgroundColor,
  backgroundColors,
  type ObjectColor,
  objectColors,
} from './colors.ts';
import { type ShapeName, shapeNames } from './shape-outlines.ts';

/** One object before a background. */
export interface Scene {
  readonly shape: ShapeName;
  readonly color: ObjectColor;
  readonly size: SceneSize;
  readonly position: ScenePosition;
  readonly background: BackgroundColor;
}

export const sceneSizes = ['small', 'big'] as const;
export const scenePositions = ['left', 'right', 'top', 'bottom', 'centre'] as const;
export type SceneSize = (typeof sceneSizes)[number];
export type ScenePosition = (typeof scenePositions)[number];

export const objectColorNames = Object.keys(objectColors) as readonly ObjectColor[];
const backgroundNames = Object.keys(backgroundColors) as readonly BackgroundColor[];

/** Backgrounds on which an object of a colour is hard to see. */
const tooAlike: Readonly<Partial<Record<ObjectColor, readonly BackgroundColor[]>>> = {
  black: ['black', 'dark blue'],
  white: ['white', 'beige', 'light blue'],
};

/** Backgrounds on which an object of a colour stands out. */
export function backgroundsFor(color: ObjectColor): readonly BackgroundColor[] {
  return backgroundNames.filter((background) => !tooAlike[color]?.includes(background));
}

/** One of `items`. */
export function pick<T>(items: readonly T[], rng: Rng): T {
  return items[rng.integer(items.length)]!;
}

/** Any scene, each as likely as every other but for the backgrounds that a colour allows. */
export function sampleScene(rng: Rng): Scene {
  const color = pick(objectColorNames, rng);
  return {
    shape: pick(shapeNames, rng),
    color,
    size: pick(sceneSizes, rng),
    position: pick(scenePositions, rng),
    background: pick(backgroundsFor(color), rng),
  };
}

const sizeWords: Readonly<Record<SceneSize, readonly string[]>> = {
  small: ['small', 'small', 'little'],
  big: ['big', 'big', 'large'],
};

const positionPhrases: Readonly<Record<ScenePosition, readonly string[]>> = {
  left: ['on the left', 'at the left', 'on the left side'],
  right: ['on the right', 'at the right', 'on the right side'],
  top: ['at the top', 'near the top'],
  bottom: ['at the bottom', 'near the bottom'],
  centre: ['in the centre', 'in the middle'],
};

/** The words that a template puts together. */
interface CaptionParts {
  /** Such as `a small red` or `a red`, without the thing. */
  readonly thing: string;
  /** Such as `on the left`. */
  readonly place: string;
  /** Such as `light blue background`. */
  readonly background: string;
}

type Template = (parts: CaptionParts) => string;

const fullTemplates: readonly Template[] = [
  ({ thing, place, background }) => `${thing} ${place} on ${withArticle(background)}`,
  ({ thing, place, background }) => `a picture of ${thing} ${place}, ${background}`,
  ({ thing, place, background }) => `${withArticle(background)} with ${thing} ${place}`,
  ({ thing, place, background }) => `${thing} ${place}, ${background}`,
  ({ thing, place, background }) => `there is ${thing} ${place}, ${background}`,
];

const plainTemplates: readonly Template[] = [
  ({ thing, background }) => `${thing} on ${withArticle(background)}`,
  ({ thing, background }) => `a picture of ${thing} on ${withArticle(background)}`,
  ({ thing, background }) => `${thing}, ${background}`,
  ({ thing, background }) => `${thing} in front of ${withArticle(background)}`,
  ({ thing, background }) => `there is ${thing} on ${withArticle(background)}`,
];

const shortTemplates: readonly Template[] = [
  ({ thing }) => thing,
  ({ thing }) => `a picture of ${thing}`,
  ({ thing, place }) => `${thing} ${place}`,
];

/** `a` or `an`, and the words. */
export function withArticle(words: string): string {
  return `${/^[aeiou]/.test(words) ? 'an' : 'a'} ${words}`;
}

/** A natural sentence about a thing, a place and a background; some say less than all. */
export function phrase(parts: CaptionParts, rng: Rng): string {
  const luck = rng.uniform();
  const templates = luck < 0.45 ? fullTemplates : luck < 0.9 ? plainTemplates : shortTemplates;
  return pick(templates, rng)(parts);
}

/** `on the left` and its like for a position. */
export function placePhrase(position: ScenePosition, rng: Rng): string {
  return pick(positionPhrases[position], rng);
}

/** `small` and its like for a size. */
export function sizeWord(size: SceneSize, rng: Rng): string {
  return pick(sizeWords[size], rng);
}

/** Says a scene in one of many ways, in lower case; size, place or background may be left unsaid. */
export function captionOf(scene: Scene, rng: Rng): string {
  const { shape, color, size, position, background } = scene;
  const sized = rng.uniform() < 0.7 ? `${sizeWord(size, rng)} ${color}` : color;
  const parts = {
    thing: withArticle(`${sized} ${shape}`),
    place: placePhrase(position, rng),
    background: `${background} background`,
  };
  return phrase(parts, rng);
}
