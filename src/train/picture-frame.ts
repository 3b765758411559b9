/** @file Which part of its picture a sample shows: what SDXL is told of it. */

import type { PictureFrame } from '../models/networks.ts';
import type { TrainSample } from './read-dataset.ts';

/** A picture is scaled to cover its bucket and cropped to the centre; the crop counts scaled pixels. */
export function frameOf({
  header,
  fit: { bucket, scale },
}: Pick<TrainSample, 'header' | 'fit'>): PictureFrame {
  const cropped = (side: number, kept: number) =>
    Math.max(0, Math.round((side * scale - kept) / 2));
  return {
    originalHeight: header.height,
    originalWidth: header.width,
    cropTop: cropped(header.height, bucket.height),
    cropLeft: cropped(header.width, bucket.width),
    targetHeight: bucket.height,
    targetWidth: bucket.width,
  };
}
