/** @file Spoils a picture as a small autoencoder does: blur and noise. */

import type { Picture } from '../../scripts/drawing/canvas.ts';
import type { Rng } from '../../src/tensor/rng.ts';

/** Weights of a Gaussian of sigma 1.2 pixels at 0, 1, 2 and 3 pixels. */
const weights = [0, 1, 2, 3].map((x) => Math.exp(-(x ** 2) / (2 * 1.2 ** 2)));

/** The picture blurred by 1.2 pixels, with normal noise of `sigma` bytes. */
export function degrade(picture: Picture, sigma: number, rng: Rng): Picture {
  const blurred = blurLines(blurLines(picture, 1, 0), 0, 1);
  const data = blurred.data.map((value) =>
    Math.max(0, Math.min(255, Math.round(value + sigma * rng.normal()))),
  );
  return { ...picture, data };
}

function blurLines({ width, height, data }: Picture, dx: number, dy: number): Picture {
  const out = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    let [sum, total] = [0, 0];
    for (let k = -3; k <= 3; k++) {
      const column = Math.max(0, Math.min(width - 1, x + k * dx));
      const row = Math.max(0, Math.min(height - 1, y + k * dy));
      const weight = weights[Math.abs(k)]!;
      sum += weight * data[(row * width + column) * 3 + c]!;
      total += weight;
    }
    out[i] = Math.round(sum / total);
  }
  return { width, height, data: out };
}
