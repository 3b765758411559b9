/** @file For graphs whose weights are all trained. */

import type { ParameterSource } from '../../src/runtime/executor.ts';

/** A source without frozen weights. */
export const noParameters: ParameterSource = {
  read: (name) => {
    throw new Error(`internal: ${name} is not a frozen weight`);
  },
};
