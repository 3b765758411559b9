/** @file Parameters that are several of a checkpoint's, one after the other. */

import { partsOfName } from '../graph/joined-name.ts';
import type { ParameterSource } from './executor.ts';

/** A source that also has the parameters that are joined of those of `source`. */
export function joinedParameters(source: ParameterSource): ParameterSource {
  return {
    read: (name) => {
      const parts = partsOfName(name).map((part) => source.read(part));
      if (parts.length === 1) return parts[0]!;
      const whole = new Float32Array(parts.reduce((size, part) => size + part.length, 0));
      let at = 0;
      for (const part of parts) {
        whole.set(part, at);
        at += part.length;
      }
      return whole;
    },
  };
}
