/** @file Opens a checkpoint that has to be of SD 1.x. */

import { UserError } from '../../tensor/user-error.ts';
import type { Checkpoint, CheckpointFile } from '../checkpoint.ts';
import { openCheckpoint } from '../single-file.ts';

/**
 * @param file the checkpoint; it stays open as long as weights are read
 * @throws UserError where it is of another family or kind, or not whole
 */
export function openSd1Checkpoint(file: CheckpointFile): Checkpoint {
  const checkpoint = openCheckpoint(file);
  const { family } = checkpoint;
  if (family.id === 'sd1') return checkpoint;
  throw new UserError(`${file.path}: this is ${family.name}; an SD 1.x checkpoint is expected`);
}
