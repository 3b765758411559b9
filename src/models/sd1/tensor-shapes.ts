/** @file Every weight of an SD 1.x model of given sizes. */

import type { Shape } from '../../tensor/shape.ts';
import type { ModelSizes } from '../sizes.ts';
import { modelTensorShapes } from '../tensor-shapes.ts';

/** By full name, such as `unet.conv_in.weight`, with the shapes of a single-file checkpoint. */
export function sd1TensorShapes(sizes: ModelSizes): Map<string, Shape> {
  return modelTensorShapes(sizes);
}
