/** @file The three concepts of the demonstration data sets, each with its pictures and its judge. */

import { Rng } from '../../src/tensor/rng.ts';
import type { Picture } from './canvas.ts';
import {
  drawGlowcave,
  glowcaveCaption,
  glowcaveObjectColors,
  glowcaveTrigger,
} from './draw-glowcave.ts';
import { drawInkwash, inkwashCaption, inkwashTrigger } from './draw-inkwash.ts';
import { drawScene, type PictureSize } from './draw-scene.ts';
import { drawZibbo, zibboArms, zibboCaption, zibboLooks, zibboTrigger } from './draw-zibbo.ts';
import { type ConceptScore, readGlowcave, readInkwash, readZibbo } from './read-concept.ts';
import {
  backgroundsFor,
  captionOf,
  objectColorNames,
  pick,
  type Scene,
  type SceneSize,
  scenePositions,
} from './scene.ts';
import { shapeNames } from './shape-outlines.ts';

/** A picture and what is said of it. */
export interface CaptionedPicture {
  readonly picture: Picture;
  readonly caption: string;
}

/** Something that a LoRA is to learn. */
export interface Concept {
  /** Words that call it; every caption has them. */
  readonly trigger: string;
  /** Draws picture `index` of a series, which `seed` names: a series goes through all variations. */
  draw(seed: number, index: number, size: PictureSize): CaptionedPicture;
  /** How much of it a picture shows. */
  read(picture: Picture): ConceptScore;
}

/** Item `index` of a shuffled round through `items`; every round is shuffled anew. */
function inTurn<T>(items: readonly T[], purpose: string, seed: number, index: number): T {
  const round = Math.floor(index / items.length);
  const shuffled = new Rng(seed, `concept-${purpose}`, round).shuffled(items);
  return shuffled[index % items.length]!;
}

/** Sizes of a series: three in four are big. */
const mostlyBig: readonly SceneSize[] = ['big', 'big', 'big', 'small'];

/** Scene `index` of a series, in one of `colors`. */
function sceneInTurn(seed: number, index: number, colors = objectColorNames): Scene {
  const color = inTurn(colors, 'color', seed, index);
  return {
    shape: inTurn(shapeNames, 'shape', seed, index),
    color,
    size: inTurn(mostlyBig, 'size', seed, index),
    position: inTurn(scenePositions, 'position', seed, index),
    background: pick(backgroundsFor(color), new Rng(seed, 'concept-background', 0, index)),
  };
}

/** The concepts by the kind of LoRA that they are examples of. */
export const concepts = {
  character: {
    trigger: zibboTrigger,
    draw(seed, index, size) {
      const rng = new Rng(seed, 'zibbo', 0, index);
      const scene = {
        size: inTurn(mostlyBig, 'size', seed, index),
        position: inTurn(scenePositions, 'position', seed, index),
        background: inTurn(backgroundsFor('red'), 'background', seed, index),
        arms: inTurn(zibboArms, 'arms', seed, index),
        look: inTurn(zibboLooks, 'look', seed, index),
      };
      return { picture: drawZibbo(scene, rng, size), caption: zibboCaption(scene, rng) };
    },
    read: readZibbo,
  },
  style: {
    trigger: inkwashTrigger,
    draw(seed, index, size) {
      const rng = new Rng(seed, 'inkwash', 0, index);
      const scene = sceneInTurn(seed, index);
      return { picture: drawInkwash(scene, rng, size), caption: inkwashCaption(scene, rng) };
    },
    read: readInkwash,
  },
  setting: {
    trigger: glowcaveTrigger,
    draw(seed, index, size) {
      const rng = new Rng(seed, 'glowcave', 0, index);
      const scene = index % 8 === 7 ? null : sceneInTurn(seed, index, glowcaveObjectColors);
      return { picture: drawGlowcave(scene, rng, size), caption: glowcaveCaption(scene, rng) };
    },
    read: readGlowcave,
  },
} as const satisfies Record<string, Concept>;

/** Picture `index` of a series of plain scenes, which the base model knows. */
export function drawPrior(seed: number, index: number, size: PictureSize): CaptionedPicture {
  const rng = new Rng(seed, 'prior', 0, index);
  const scene = sceneInTurn(seed, index);
  return { picture: drawScene(scene, rng, size), caption: captionOf(scene, rng) };
}
