/** @file Reads pictures with sharp: their header alone, or the pixels scaled and cropped to a bucket. */

import sharp, { type Metadata, type Sharp } from 'sharp';
import { f32, type Tensor } from '../tensor/tensor.ts';
import { UserError } from '../tensor/user-error.ts';

// Pictures are read one by one beside a training step: libvips' threads and its cache of opened files
// would only take cores and memory from it, and would miss that a file has changed.
sharp.concurrency(1);
sharp.cache(false);

/** What a picture's header says. */
export interface ImageHeader {
  /** In pixels, after the EXIF orientation is applied. */
  readonly width: number;
  readonly height: number;
  readonly hasAlpha: boolean;
  readonly format: 'jpeg' | 'png' | 'webp' | 'avif' | 'tiff';
  /** libvips' name, such as `srgb`, `cmyk`, `b-w`, `rgb16`. */
  readonly colourSpace: string;
}

/** What to make of a picture. */
export interface ReadImageOptions {
  readonly width: number;
  readonly height: number;
  /** Mirror left and right. */
  readonly flip?: boolean;
}

/** 16,383² pixels, the largest WebP; a header that claims more is hostile or needs scaling down. */
const maxPixels = 16_383 ** 2;

/** Of libjpeg's warnings, those that mean lost pixels; the others are about harmless stray bytes. */
const lostPixels = /premature end|bad (huffman|arithmetic) code|instead of RST/i;

type Strictness = 'warning' | 'error';

function open(path: string, failOn: Strictness) {
  return sharp(path, { failOn, limitInputPixels: maxPixels });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}

function unreadable(path: string, error: unknown): UserError {
  const reason = reasonOf(error);
  if (reason.startsWith('Input file is missing')) {
    return new UserError(`${path}: no such file; was it moved after the data set was read?`);
  }
  if (/pixel limit/.test(reason)) {
    return new UserError(`${path}: has more than ${maxPixels} pixels; scale it down`);
  }
  if (/unsupported image format/.test(reason)) {
    return new UserError(
      `${path}: is damaged or no picture; expected JPEG, PNG, WebP, AVIF or TIFF; convert, replace or remove it`,
    );
  }
  return new UserError(
    `${path}: the picture is damaged or cut short (${reason}); save it again from its source, or remove it`,
  );
}

/** Runs a decode strictly; where only harmless warnings stop it, once more without them. */
async function decode<T>(path: string, run: (image: Sharp) => Promise<T>): Promise<T> {
  try {
    return await run(open(path, 'warning'));
  } catch (error) {
    if (lostPixels.test(error instanceof Error ? error.message : '')) throw unreadable(path, error);
  }
  try {
    return await run(open(path, 'error'));
  } catch (error) {
    throw unreadable(path, error);
  }
}

function formatOf(metadata: Metadata): ImageHeader['format'] | null {
  const { format, compression } = metadata;
  if (format === 'heif') return compression === 'av1' ? 'avif' : null;
  return format === 'jpeg' || format === 'png' || format === 'webp' || format === 'tiff'
    ? format
    : null;
}

/**
 * Reads a picture's header.
 * @throws UserError where it is none, or of a format that training does not take.
 */
export async function probeImage(path: string): Promise<ImageHeader> {
  let metadata: Metadata;
  try {
    metadata = await open(path, 'error').metadata();
  } catch (error) {
    throw unreadable(path, error);
  }
  const format = formatOf(metadata);
  if (format === null) {
    throw new UserError(
      `${path}: is a ${metadata.format} file whatever its name; expected JPEG, PNG, WebP, AVIF or TIFF; convert it`,
    );
  }
  const { width, height } = metadata.autoOrient;
  return { width, height, hasAlpha: metadata.hasAlpha, format, colourSpace: metadata.space };
}

/**
 * Decodes all of a picture and throws the pixels away.
 * @throws UserError where it is damaged or cut short.
 */
export async function verifyImage(path: string): Promise<void> {
  await decode(path, (image) =>
    image.resize(8, 8, { fit: 'fill', kernel: 'nearest' }).raw().toBuffer(),
  );
}

/**
 * 8-bit RGB of a picture as seen: upright, on white, scaled to cover and cropped to the centre. The
 * colours are sRGB, which sharp puts out unless told otherwise.
 */
async function pixels(path: string, { width, height, flip }: ReadImageOptions): Promise<Buffer> {
  const { data, info } = await decode(path, (image) =>
    image
      .autoOrient()
      .flatten({ background: '#ffffff' })
      .resize(width, height, { fit: 'cover', kernel: 'lanczos3', fastShrinkOnLoad: false })
      .flop(flip ?? false)
      .raw()
      .toBuffer({ resolveWithObject: true }),
  );
  if (info.channels !== 3 || info.width !== width || info.height !== height) {
    throw new Error(`internal: ${path} decoded to ${info.width}×${info.height}×${info.channels}`);
  }
  return data;
}

/**
 * A picture as the VAE takes it.
 *
 * EXIF orientation is applied; transparency is laid on white; greyscale, palettes, CMYK, 16-bit and
 * colour profiles become 8-bit sRGB; Lanczos-3 scales it to cover width × height, centred.
 * @returns f32 [3, height, width], value / 127.5 - 1.
 * @throws UserError where the picture is damaged or cut short.
 */
export async function readImage(path: string, options: ReadImageOptions): Promise<Tensor<'f32'>> {
  const { width, height } = options;
  const interleaved = await pixels(path, options);
  const plane = width * height;
  const values = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) values[c * plane + i] = interleaved[3 * i + c]! / 127.5 - 1;
  }
  return f32([3, height, width], values);
}
