/** @file How much memory a run may take. */

import { freemem } from 'node:os';
import { UserError } from '../tensor/user-error.ts';

/** Share of the free memory that `auto` takes: estimates are off by some per cent, and others need a little. */
const shareOfFree = 0.9;

const units: Readonly<Record<string, number>> = {
  MB: 1e6,
  GB: 1e9,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** Memory of this machine that no one uses, in bytes; a container's limit counts. */
export function freeMemory(): number {
  // Node 20 has it from 20.13 on.
  const { availableMemory } = process as { availableMemory?: () => number };
  return availableMemory?.() ?? freemem();
}

/** `6.2 GB`, or `310 MB` where it is less than one. */
export function bytesText(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

export interface MemoryBudget {
  readonly bytes: number;
  /** What it is, in words. */
  readonly text: string;
}

/**
 * The budget that `device.memory` states.
 *
 * @param onGpu the memory that counts is a GPU's, of which nothing tells how much is free
 * @throws UserError for `auto` on a GPU
 */
export function memoryBudget(memory: string, onGpu: boolean): MemoryBudget {
  if (memory.toLowerCase() === 'auto') {
    if (onGpu) {
      throw new UserError(
        "device.memory: auto knows the machine's memory, and a GPU computes: give the GPU's, such as 8GB",
      );
    }
    const free = freeMemory();
    return {
      bytes: shareOfFree * free,
      text: `${bytesText(free)} are free, of which auto takes nine tenths`,
    };
  }
  const [, number, unit] = /^([\d.]+)\s*(\w+)$/.exec(memory)!;
  return { bytes: Number(number) * units[unit!.toUpperCase()]!, text: `it is ${memory}` };
}
