/** @file The sizes of Stable Diffusion 1.x. */

/** Attention heads of every transformer of SD 1.x; tensors do not tell. */
export const unetHeads = 8;

export type { ModelSizes as Sd1Sizes } from '../sizes.ts';
