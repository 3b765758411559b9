/** @file The keys of an SD 1.x checkpoint. */

import { checkpointKey } from '../single-file.ts';
import type { ModelSizes } from '../sizes.ts';
import { sd1 } from './family.ts';

/** The key in an SD 1.x checkpoint of a weight such as `unet.conv_in.weight`. */
export function sd1CheckpointKey(name: string, sizes: ModelSizes): string {
  return checkpointKey(sd1, name, sizes).key;
}
