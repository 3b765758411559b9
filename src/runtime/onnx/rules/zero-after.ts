/** @file How a value is made to wait for another one. */

import type { OnnxEmitter, ValueName } from '../onnx-emitter.ts';

/**
 * An exact zero that is there only when `after` is: the sum of no elements of it. Adding it makes a
 * value wait without changing it, and keeps it from being merged with its twin.
 */
export function zeroAfter(emitter: OnnxEmitter, after: ValueName, isScalar = false): ValueName {
  const flat = isScalar ? emitter.emit('Reshape', [after, emitter.integers([1])]) : after;
  const none = emitter.emit('Slice', [
    flat,
    emitter.integers([0]),
    emitter.integers([0]),
    emitter.integers([0]),
  ]);
  return emitter.emit('ReduceSum', [none], { attributes: { keepdims: 0 } });
}
