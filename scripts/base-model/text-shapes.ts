/** @file The weights of the base model's text encoder in the form that is trained. */

import { sd1TensorShapes } from '../../src/models/sd1/tensor-shapes.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { baseSizes } from './base-sizes.ts';
import { tokenTable } from './token-table.ts';

/** By full name, with a table of so many words. */
export function textShapes(words: number): Map<string, Shape> {
  const shapes = new Map(
    Array.from(sd1TensorShapes(baseSizes)).filter(([name]) => name.startsWith('text_encoder.')),
  );
  shapes.set(tokenTable, [words, baseSizes.text.hidden]);
  return shapes;
}
