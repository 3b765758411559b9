/** @file What SDXL is told of a picture. */

import { expect, test } from 'vitest';
import { frameOf } from '../../src/train/picture-frame.ts';

test('the crop counts pixels of the picture as it is scaled', () => {
  const header = { width: 3000, height: 2000 } as Parameters<typeof frameOf>[0]['header'];
  const bucket = { width: 1024, height: 1024 };
  const fit = { bucket, scale: 1024 / 2000, cropLoss: 1 / 3 };
  expect(frameOf({ header, fit })).toEqual({
    originalHeight: 2000,
    originalWidth: 3000,
    cropTop: 0,
    cropLeft: 256,
    targetHeight: 1024,
    targetWidth: 1024,
  });
});
