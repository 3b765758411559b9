/** @file What is done where a batch is too large for the device's memory: it is cut into smaller parts. */

import { OutOfMemoryError } from '../runtime/executor.ts';
import { UserError } from '../tensor/user-error.ts';

/** A part of a batch that was too large, and what is tried next. */
export interface SmallerParts {
  /** Items that were too many at once. */
  readonly tooMany: number;
  /** Most items that go through the network at once from now on. */
  readonly microBatch: number;
  /** In the engine's words. */
  readonly reason: string;
}

/**
 * Half of what was too much.
 *
 * @param tooMany items that were in memory at once
 * @param gradientCheckpointing whether it is on already
 * @throws the error where it is another one, and UserError where nothing is left to be halved
 */
export function smallerParts(
  error: unknown,
  tooMany: number,
  gradientCheckpointing: boolean,
): SmallerParts {
  if (!(error instanceof OutOfMemoryError)) throw error;
  const { reason } = error;
  if (tooMany > 1) return { tooMany, microBatch: Math.ceil(tooMany / 2), reason };
  const ways = [
    ...(gradientCheckpointing ? [] : ['set train.gradientCheckpointing: true']),
    'lower data.resolution',
    'let device.memory plan the run (a size such as 8GB), which says beforehand what it needs',
  ];
  const last = ways.pop()!;
  throw new UserError(
    `the device has no memory for one picture at once (${reason}): ${ways.join(', ')}, or ${last}`,
  );
}

/** What is said of it. */
export function smallerPartsText({ tooMany, microBatch, reason }: SmallerParts): string {
  return (
    `the device has no memory for ${tooMany} pictures at once (${reason}): the step is taken anew with ` +
    `${microBatch} at once, as are all that follow; a batch is as large as before, only rounding differs`
  );
}
