/** @file The arguments of libtorch's C functions for single operations, as koffi passes them. */

import type { Argument } from './torch-emitter.ts';

/** The 8 bytes of a double. */
export const doubleBits = (value: number) =>
  new BigUint64Array(new Float64Array([value]).buffer)[0]!;

/** An argument of a C function: a number, a handle, or the address of a double. */
type NativeArgument =
  | { readonly kind: 'undefined'; readonly type: string }
  | { readonly kind: 'value'; readonly type: string; readonly number: number }
  | { readonly kind: 'tensor'; readonly type: string; readonly id: number }
  | { readonly kind: 'optional'; readonly type: string; readonly bits: bigint };

/** @throws internal error for what no C function takes here */
export function nativeArgument(argument: Argument): NativeArgument {
  const type = 'uint64_t';
  switch (argument.kind) {
    case 'tensor':
      return { kind: 'tensor', type, id: argument.value.id };
    case 'undefined':
      return { kind: 'undefined', type };
    // Flags have 32 bits, which come in a register or a place of 64 as well.
    case 'whole':
      return { kind: 'value', type: 'int64_t', number: argument.number };
    case 'float':
      return { kind: 'value', type: 'double', number: argument.number };
    case 'none':
      return { kind: 'value', type, number: 0 };
    case 'some':
      if (argument.argument.kind !== 'float') break;
      return { kind: 'optional', type, bits: doubleBits(argument.argument.number) };
  }
  throw new Error(`internal: a C function takes no ${argument.kind}`);
}
