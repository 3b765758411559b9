/** @file Parameters that are made of several of a checkpoint's. */

import { partsOfName } from '../graph/joined-name.ts';
import type { ParameterSource } from './executor.ts';

function summed([first, ...rest]: readonly Float32Array[]): Float32Array {
  if (rest.length === 0) return first!;
  return first!.map((value, i) => rest.reduce((sum, other) => sum + other[i]!, value));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Float32Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A source that also has the parameters that are joined or summed of those of `source`. */
export function joinedParameters(source: ParameterSource): ParameterSource {
  return {
    read: (name) =>
      joined(partsOfName(name).map((terms) => summed(terms.map((term) => source.read(term))))),
  };
}
