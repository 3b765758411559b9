/**
 * @file Makes running out of wasm's memory an error. Its allocator answers 0 then, and tfjs would go on
 * and compute with whatever lies there.
 */

import { UserError } from '../../tensor/user-error.ts';

/** What the module of tfjs's wasm back end offers; addresses and sizes in bytes. */
export interface WasmModule {
  _malloc(bytes: number): number;
  _free(address: number): void;
  /** All of its memory so far, which grows on demand. */
  readonly HEAPU8: Uint8Array;
}

/** Memory of a wasm module with 32-bit addresses, less the page that tfjs's build leaves out. */
const most = 2 ** 32 - 2 ** 16;

/**
 * So much must stay free, since its kernels take memory of their own (packed weights: 118 MB for
 * SD's largest) and give wrong results where they get none.
 */
const spare = 2 ** 28;

export function guardWasmMemory(wasm: WasmModule): void {
  const allocate = wasm._malloc;
  const hasSpare = (): boolean => {
    if (wasm.HEAPU8.length + spare <= most) return true;
    const probe = allocate(spare);
    if (probe !== 0) wasm._free(probe);
    return probe !== 0;
  };
  wasm._malloc = (bytes) => {
    const address = allocate(bytes);
    if ((address !== 0 || bytes === 0) && hasSpare()) return address;
    if (address !== 0) wasm._free(address);
    throw new UserError(
      `TensorFlow.js has run out of memory: wasm has ${(most / 2 ** 30).toFixed(0)} GiB, too few for a full-size base; ` +
        'train in smaller pictures or batches, or with device.executor: onnx',
    );
  };
}
