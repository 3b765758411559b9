/** @file Pictures of many kinds, so that the autoencoder learns colours, edges, lines and textures, not only scenes. */

import type { Rng } from '../../src/tensor/rng.ts';
import { createPicture, fill, type Picture, place } from '../drawing/canvas.ts';
import type { Rgb } from '../drawing/colors.ts';
import { drawScene } from '../drawing/draw-scene.ts';
import { pick, sampleScene } from '../drawing/scene.ts';
import { shapeOutlines } from '../drawing/shape-outlines.ts';

const outlines = Object.values(shapeOutlines);

function anyColor(rng: Rng): Rgb {
  return [rng.uniform() * 255, rng.uniform() * 255, rng.uniform() * 255];
}

/** A soft slope from one colour to another. */
function slope(side: number, rng: Rng): Picture {
  const from = anyColor(rng);
  const to = rng.uniform() < 0.5 ? from : anyColor(rng);
  const angle = rng.uniform() * 2 * Math.PI;
  const [dx, dy] = [Math.cos(angle) / side, Math.sin(angle) / side];
  return createPicture(side, side, (x, y) => {
    const part = 0.5 + (x - side / 2) * dx + (y - side / 2) * dy;
    return [0, 1, 2].map((i) => from[i]! + (to[i]! - from[i]!) * part) as unknown as Rgb;
  });
}

function line(side: number, rng: Rng): number[] {
  const [x, y] = [rng.uniform() * side, rng.uniform() * side];
  const angle = rng.uniform() * Math.PI;
  const length = side * (0.1 + 0.9 * rng.uniform());
  const half = 0.5 + 2 * rng.uniform();
  const [ux, uy] = [Math.cos(angle), Math.sin(angle)];
  const [ex, ey] = [x + ux * length, y + uy * length];
  const [nx, ny] = [-uy * half, ux * half];
  return [x + nx, y + ny, ex + nx, ey + ny, ex - nx, ey - ny, x - nx, y - ny];
}

/** A scene of the grammar in half of the cases, otherwise shapes and lines of any colour. */
export function drawVariety(side: number, rng: Rng): Picture {
  if (rng.uniform() < 0.5) return drawScene(sampleScene(rng), rng, { width: side, height: side });
  const picture = slope(side, rng);
  const shapes = rng.integer(7);
  for (let i = 0; i < shapes; i++) {
    const color = anyColor(rng);
    const at = {
      x: rng.uniform() * side,
      y: rng.uniform() * side,
      scale: side * (0.02 + 0.3 * rng.uniform() ** 2),
      angle: rng.uniform() * 2 * Math.PI,
    };
    fill(picture, place(pick(outlines, rng), at), () => color, 0.5 + 0.5 * rng.uniform());
  }
  const lines = rng.uniform() < 0.5 ? 0 : rng.integer(16);
  for (let i = 0; i < lines; i++) {
    const color = anyColor(rng);
    fill(picture, [line(side, rng)], () => color);
  }
  return picture;
}
