/** @file Memory for kernels that run on the processor without libtorch. */

import koffi from 'koffi';
import type { KernelLauncher, Launch } from '../../src/runtime/torch/kernels/kernel.ts';
import { KernelParameters } from '../../src/runtime/torch/kernels/kernel-parameters.ts';

const addressOf = (block: unknown) =>
  Number(koffi.address(block as Parameters<typeof koffi.address>[0]));

/** What launches need of libtorch. */
export const hostMemory = {
  allocateCells: (count: number) => addressOf(koffi.alloc('uint64_t', count)),
  freeCells: (address: number) => koffi.free(BigInt(address)),
  view: (address: number, bytes: number) => koffi.view(BigInt(address), bytes),
  // A tensor's handle is its address.
  dataPointer: (handle: number, out: number) => {
    koffi.encode(BigInt(out), 'uint64_t', handle);
    return 0;
  },
  lastError: () => '',
};

/** f32 values at an address. */
interface HostFloats {
  readonly address: number;
  readonly values: Float32Array;
}

function hostFloats(size: number): HostFloats {
  const address = hostMemory.allocateCells(Math.ceil(size / 2));
  return { address, values: new Float32Array(hostMemory.view(address, 4 * size), 0, size) };
}

/** Runs a kernel once. @returns copies of its results, of the given sizes */
export function runKernel(
  launcher: KernelLauncher,
  launch: Launch,
  inputs: readonly ArrayLike<number>[],
  sizes: readonly number[],
): Float32Array[] {
  const given = inputs.map((values) => {
    const floats = hostFloats(values.length);
    floats.values.set(values);
    return floats;
  });
  const results = sizes.map(hostFloats);
  const tensors = [...given, ...results];
  const parameters = new KernelParameters(hostMemory, launch, tensors.length);
  const begin = launcher.prepare(launch, parameters.address);
  for (const [i, { address }] of tensors.entries()) parameters.set(i, address);
  begin();
  const copies = results.map(({ values }) => values.slice());
  parameters.dispose();
  for (const { address } of tensors) hostMemory.freeCells(address);
  return copies;
}
