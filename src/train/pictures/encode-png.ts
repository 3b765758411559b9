/** @file Pixels to PNG. */

import sharp from 'sharp';

/** A picture in memory: `rgb` is height × width × 3, rows from the top, 0 to 255. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** Throws if the pixels are not those of the size. */
export function checkPicture({ width, height, rgb }: Picture): void {
  if (rgb.length !== width * height * 3) {
    throw new Error(`internal: ${rgb.length} bytes are no RGB picture of ${width}×${height}`);
  }
}

/**
 * A PNG of a picture; the same bytes for the same picture.
 * @param overlay SVG elements drawn over it, in its pixels
 */
export async function encodePng(picture: Picture, overlay?: string): Promise<Buffer> {
  checkPicture(picture);
  const { width, height, rgb } = picture;
  const image = sharp(rgb, { raw: { width, height, channels: 3 } });
  if (overlay) {
    const size = `width="${width}" height="${height}"`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${overlay}</svg>`;
    image.composite([{ input: Buffer.from(svg) }]).removeAlpha();
  }
  return image.png().toBuffer();
}
