/**
 * @file How group norm is dealt to blocks of threads. A block has a slice of the channels, whole groups of them,
 * of a part of the pixels: the more slices, the fewer parts, whose sums every block of the second launch adds up.
 */

import type { ComputeType } from '../rules/rule.ts';
import { packBytes, packWidth } from './kernel.ts';

/** Images [images, channels, pixels]. */
export interface GroupNormSize {
  readonly images: number;
  readonly channels: number;
  readonly pixels: number;
  readonly groups: number;
}

/** Threads of a block, if one row of packs is not more. */
const wantedThreads = 256;
const mostThreads = 1024;
const warp = 32;
/** Shared memory that any block may have without asking. */
const sharedBytes = 48 * 1024;
/** Eight for each of the 132 multiprocessors of an H100. */
const wantedBlocks = 8 * 132;
/** Pixels that a thread has at least, where an image has so many. */
const fewestSteps = 2;
/** Parts of an image, whose sums each block of the second launch adds up. */
export const mostParts = 128;
/** Of a slice's row: a cache line, so that few loads are of two, and whole sectors. */
const leastSliceBytes = 128;
const sectorBytes = 32;

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

/** Channels of a slice: whole groups, and whole packs. */
function sliceOf(compute: ComputeType, channels: number, groups: number): number {
  const width = packWidth(compute);
  const ofGroup = channels / groups;
  const least = (ofGroup * width) / commonDivisor(ofGroup, width);
  for (let slice = least; slice < channels; slice += least) {
    const bytes = (slice / width) * packBytes;
    if (channels % slice === 0 && bytes >= leastSliceBytes && bytes % sectorBytes === 0) {
      return slice;
    }
  }
  return channels;
}

/** Groups that a pack's channels are of, at most. */
function spanOf(width: number, ofGroup: number): number {
  if (ofGroup % width === 0) return 1;
  return width % ofGroup === 0 ? width / ofGroup : Math.floor((width - 2) / ofGroup) + 2;
}

/** What is fixed when a kernel is compiled; the number of pixels is not. */
export interface GroupNormBlock {
  /** Channels. */
  readonly slice: number;
  /** Pixels that it takes at once. */
  readonly rows: number;
  /** Whole warps. */
  readonly threads: number;
  /** Threads that add up one group, of one warp: a power of two. */
  readonly adders: number;
  /** Groups that a thread's channels are of, at most. */
  readonly span: number;
}

type Channels = Pick<GroupNormSize, 'channels' | 'groups'>;

export function groupNormBlock(
  compute: ComputeType,
  { channels, groups }: Channels,
): GroupNormBlock {
  const width = packWidth(compute);
  const ofGroup = channels / groups;
  const slice = sliceOf(compute, channels, groups);
  const packs = slice / width;
  const rows = Math.max(1, Math.floor(wantedThreads / packs));
  const threads = Math.ceil((packs * rows) / warp) * warp;
  const adders = 2 ** Math.floor(Math.log2(Math.min(warp, (threads * ofGroup) / slice)));
  return { slice, rows, threads, adders, span: spanOf(width, ofGroup) };
}

/** Whether channels are loaded in whole packs, and a block has a thread for each group and room for its sums. */
export function takesGroupNorm(compute: ComputeType, size: Channels): boolean {
  const { channels, groups } = size;
  if (channels % packWidth(compute) !== 0 || channels % groups !== 0) return false;
  const { slice, threads, span } = groupNormBlock(compute, size);
  const sliceGroups = (slice * groups) / channels;
  if (threads > mostThreads || threads < sliceGroups) return false;
  // Two f32 of each thread for each of its groups; of each group one that it is centred by, or four.
  return 8 * span * threads + 16 * sliceGroups <= sharedBytes;
}

/** Of an image. */
interface Parts {
  readonly pixels: number;
  readonly count: number;
}

function partsOf(compute: ComputeType, size: GroupNormSize, most: number): Parts {
  const { images, channels, pixels } = size;
  const { slice, rows } = groupNormBlock(compute, size);
  const wanted = Math.ceil(wantedBlocks / images / (channels / slice));
  const count = Math.min(most, wanted, Math.ceil(pixels / rows / fewestSteps));
  const ofPart = Math.ceil(pixels / count / rows) * rows;
  return { pixels: ofPart, count: Math.ceil(pixels / ofPart) };
}

/** Those of which the first launch makes sums. */
export const summedParts = (compute: ComputeType, size: GroupNormSize): Parts =>
  partsOf(compute, size, mostParts);

/** Those that the second launch goes through. */
export const normedParts = (compute: ComputeType, size: GroupNormSize): Parts =>
  partsOf(compute, size, size.pixels);
