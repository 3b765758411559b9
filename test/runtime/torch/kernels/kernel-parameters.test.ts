/** @file Where a launch's parameters lie, and what may not be one. */

import { expect, test } from 'vitest';
import type { Launch } from '../../../../src/runtime/torch/kernels/kernel.ts';
import { KernelParameters } from '../../../../src/runtime/torch/kernels/kernel-parameters.ts';
import { hostMemory } from '../../../helpers/host-memory.ts';

const launch: Launch = {
  kernel: { entry: 'some', source: '' },
  grid: [1, 1],
  block: 1,
  scalars: [{ f32: 0.5 }, { i32: -2 }],
};

/** The cells that the array of addresses points to. */
function cellsOf({ address }: KernelParameters, count: number): DataView[] {
  const addresses = new BigUint64Array(hostMemory.view(address, 8 * count));
  return [...addresses].map((each) => new DataView(hostMemory.view(Number(each), 8)));
}

test('tensors come first, then numbers in their own types', () => {
  const parameters = new KernelParameters(hostMemory, launch, 1);
  parameters.set(0, 4096);
  const [tensor, float, whole] = cellsOf(parameters, 3);
  expect(tensor!.getBigUint64(0, true)).toBe(4096n);
  expect(float!.getFloat32(0, true)).toBe(0.5);
  expect(whole!.getInt32(0, true)).toBe(-2);
  parameters.dispose();
});

test('memory that packs cannot be loaded from is refused, where they are loaded', () => {
  const packs = new KernelParameters(hostMemory, launch, 1);
  expect(() => packs.set(0, 4096 + 4)).toThrow(
    'internal: some: argument 0 is not at a multiple of 16',
  );
  packs.dispose();
  const floats = new KernelParameters(hostMemory, { ...launch, alignment: 4 }, 1);
  expect(() => floats.set(0, 4096 + 4)).not.toThrow();
  floats.dispose();
});
