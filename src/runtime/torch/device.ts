/** @file The devices of libtorch, as a configuration names them. */

import { UserError } from '../../tensor/user-error.ts';
import type { TorchDeviceKind, TorchLibrary } from './torch-library.ts';

export interface TorchDevice {
  readonly kind: TorchDeviceKind;
  /** -1 for the processor. */
  readonly index: number;
}

export const deviceText = ({ kind, index }: TorchDevice) =>
  kind === 'cuda' || kind === 'xpu' ? `${kind}:${index}` : kind;

/** Why there is no such device, in a line; undefined where one float can be on it. */
export function lackOf(library: TorchLibrary, { kind, index }: TorchDevice): string | undefined {
  if (kind === 'cpu') return undefined;
  if (kind === 'cuda' && !library.hasCuda) return library.cudaProblem ?? 'it is not built for CUDA';
  const out = library.allocateCells(1);
  const one = new BigInt64Array([1n]);
  const codes = [library.dtypeCodes.f32, library.deviceCodes[kind]] as const;
  const status = library.quietly(() => library.emptyStrided(1, one, one, ...codes, index, out));
  const [handle] = new BigUint64Array(library.view(out, 8));
  const lack = status === 0 ? undefined : library.lastError().split('\n')[0]!;
  if (status === 0) library.deleteTensor(Number(handle));
  library.freeCells(out);
  return lack;
}

/** The GPUs that libtorch can use, by kind. */
export function listDevices(library: TorchLibrary): TorchDevice[] {
  const found: TorchDevice[] = [];
  for (const kind of ['cuda', 'xpu', 'mps'] as const) {
    for (let index = 0; lackOf(library, { kind, index }) === undefined; index++) {
      found.push({ kind, index });
      if (kind === 'mps') break;
    }
  }
  return [...found, { kind: 'cpu', index: -1 }];
}

/**
 * The device of a name: `auto` is the first GPU, or the processor where there is none.
 * @throws UserError for a device that is not there
 */
export function chooseDevice(library: TorchLibrary, name: string): TorchDevice {
  if (name === 'auto') return listDevices(library)[0]!;
  if (name === 'cpu') return { kind: 'cpu', index: -1 };
  const [kind, index] = name.split(':') as [TorchDeviceKind, string | undefined];
  const device = { kind, index: Number(index ?? 0) };
  const lack = lackOf(library, device);
  if (lack === undefined) return device;
  const there = listDevices(library).map(deviceText).join(', ');
  const { folder, version } = library.found;
  throw new UserError(
    `device.torchDevice: ${name} cannot be used by libtorch ${version ?? ''} in ${folder} (${lack}); it has: ${there}`,
  );
}
