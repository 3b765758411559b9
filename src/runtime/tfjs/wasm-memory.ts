/**
 * @file Makes running out of wasm's memory an error. Its allocator answers 0 then, or even an address
 * behind the end, and tfjs would go on and compute with whatever lies there.
 */

import { UserError } from '../../tensor/user-error.ts';

/** What the module of tfjs's wasm back end offers; sizes in bytes, 0 is no address. */
export interface WasmModule {
  _malloc(bytes: number): number;
  _free(address: number): void;
  /** All of its memory so far, which grows on demand and never shrinks. */
  readonly HEAPU8: Uint8Array;
}

/** Memory of a wasm module with 32-bit addresses, less the page that tfjs's build leaves out. */
const most = 2 ** 32 - 2 ** 16;

/**
 * So much is left to its kernels, which take memory of their own (packed weights: 118 MB for SD's
 * largest) and give wrong results where they get none.
 */
const spare = 2 ** 28;

export function guardWasmMemory(wasm: WasmModule): void {
  // At its first call, the function that is there puts another one in its place.
  wasm._free(wasm._malloc(1));
  const allocate = wasm._malloc;
  wasm._malloc = (bytes) => {
    const fits = wasm.HEAPU8.length + bytes + spare <= most;
    const address = fits ? allocate(bytes) : 0;
    if (address !== 0 || bytes === 0) return address;
    throw new UserError(
      'TensorFlow.js has run out of memory: wasm has 4 GiB; ' +
        'train in smaller pictures or batches, or with device.executor: onnx',
    );
  };
}

/**
 * Its kernels keep a copy of each weight, packed.
 * @throws UserError where weights of so many bytes cannot fit
 */
export function checkWasmWeights(bytes: number): void {
  if (2 * bytes + spare <= most) return;
  const needed = ((2 * bytes + spare) / 2 ** 30).toFixed(1);
  throw new UserError(
    `TensorFlow.js would need ${needed} GiB for this base, and wasm has 4: train with device.executor: onnx, ` +
      'or with tfjs-node-gpu (device.tfjsBackend: node-gpu)',
  );
}
