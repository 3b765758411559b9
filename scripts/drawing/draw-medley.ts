/** @file Draws a medley of everything, so that an autoencoder learns pictures and not a grammar. */

import type { Rng } from '../../src/tensor/rng.ts';
import {
  createPicture,
  ellipse,
  fill,
  type Outline,
  type Paint,
  type Picture,
  place,
  stroke,
} from './canvas.ts';
import type { Rgb } from './colors.ts';
import { jitter, type PictureSize, pictureSide } from './draw-scene.ts';
import { pick } from './scene.ts';
import { shapeNames, shapeOutlines } from './shape-outlines.ts';

/** Any colour, the dark and the pale ones as often as the strong ones. */
function anyColor(rng: Rng): Rgb {
  const strength = rng.uniform();
  const grey = 255 * rng.uniform();
  const channel = () => grey + strength * (255 * rng.uniform() - grey);
  return [channel(), channel(), channel()];
}

/** One colour, a run from one to another, or stripes of two. */
function anyPaint({ width, height }: PictureSize, rng: Rng): Paint {
  const [a, b] = [anyColor(rng), anyColor(rng)];
  const angle = 2 * Math.PI * rng.uniform();
  const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
  const kind = rng.uniform();
  const reach = Math.max(width, height);
  const period = 6 + 18 * rng.uniform();
  const share = 0.2 + 0.6 * rng.uniform();
  return (x, y) => {
    if (kind < 0.5) return a;
    const along = dx * (x - width / 2) + dy * (y - height / 2);
    const wave = Math.cos((2 * Math.PI * along) / period) - Math.cos(Math.PI * share);
    const part = kind < 0.8 ? along / reach + 0.5 : Math.max(0, Math.min(1, wave * 2 + 0.5));
    return [0, 1, 2].map((i) => a[i]! + (b[i]! - a[i]!) * part) as unknown as Rgb;
  };
}

/** A shape of the grammar, an ellipse, a stroke or a random polygon. */
function anyOutlines({ width, height }: PictureSize, rng: Rng): readonly Outline[] {
  const x = width * rng.uniform();
  const y = height * rng.uniform();
  // Small things as often as large ones.
  const scale = (Math.min(width, height) / pictureSide) * 3 * 18 ** rng.uniform();
  const angle = 2 * Math.PI * rng.uniform();
  const kind = rng.integer(4);
  if (kind === 0) return place(shapeOutlines[pick(shapeNames, rng)], { x, y, scale, angle });
  if (kind === 1) {
    return place([ellipse(0, 0, 1, 0.4 + 0.6 * rng.uniform())], { x, y, scale, angle });
  }
  if (kind === 2) return [stroke(x, y, x + jitter(60, rng), y + jitter(60, rng), 2 + scale / 4)];
  const corners = 3 + rng.integer(4);
  const polygon = Array.from({ length: corners }, (_, i) => {
    const turn = (2 * Math.PI * (i + 0.7 * rng.uniform())) / corners;
    const radius = 0.5 + 0.7 * rng.uniform();
    return [radius * Math.cos(turn), radius * Math.sin(turn)];
  });
  return place([polygon.flat()], { x, y, scale, angle });
}

/** Shapes, lines, stripes and colour runs in any colour, one over the other; it has no caption. */
export function drawMedley(
  rng: Rng,
  size: PictureSize = { width: pictureSide, height: pictureSide },
): Picture {
  const picture = createPicture(size.width, size.height, anyPaint(size, rng));
  const things = 1 + rng.integer(14);
  for (let i = 0; i < things; i++) {
    const opacity = rng.uniform() < 0.8 ? 1 : 0.3 + 0.6 * rng.uniform();
    fill(picture, anyOutlines(size, rng), anyPaint(size, rng), opacity);
  }
  return picture;
}
