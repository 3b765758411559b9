/** @file How much of a plan's stack a call needs. */

import type { Call } from './torch-emitter.ts';

/** Arguments of `aten::copy_`: to, from, and whether the host goes on at once. */
const copyArguments = 3;

/** Cells of 8 bytes: for its arguments, and for its results where those do not take their places. */
export function slotsOf(call: Call): number {
  switch (call.kind) {
    case 'dispatch':
      return Math.max(call.args.length, call.results.length);
    case 'native':
      return call.args.length + call.results.length;
    case 'write':
      return call.args.length + 1;
    default:
      return copyArguments;
  }
}
