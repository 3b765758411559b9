/** @file What the driver adds to libtorch on an NVIDIA GPU: a stream that is not waited for, and captured graphs. */

import { CudaDriver } from './cuda-driver.ts';
import { deviceText, type TorchDevice } from './device.ts';
import type { DeviceMemory } from './device-memory.ts';
import { GraphPool } from './graph-pool.ts';
import type { TorchLibrary } from './torch-library.ts';

export interface CudaSupport {
  readonly events: CudaDriver;
  /** Absent where graphs are not wanted or cannot be captured. */
  readonly graphs: GraphPool | undefined;
  /** Notes that a graph is run call by call, and why; each reason once. */
  readonly onRefused: (reason: string) => void;
}

export interface CudaSupportOptions {
  readonly library: TorchLibrary;
  readonly device: TorchDevice;
  readonly memory: DeviceMemory;
  readonly cudaGraphs: boolean;
  readonly note: (text: string) => void;
}

/** Undefined, with a note, where the driver cannot be used: libtorch alone is enough, but slower. */
export function openCuda(options: CudaSupportOptions): CudaSupport | undefined {
  const { library, device, memory, cudaGraphs, note } = options;
  const noted = new Set<string>();
  const once = (text: string) => {
    if (!noted.has(text)) note(text);
    noted.add(text);
  };
  // Convolutions have one shape each in a graph: cuDNN may try which of its kernels is fastest.
  const context = library.find('uint64_t _ZN2at13globalContextEv()')?.();
  const tryKernels = library.find('void _ZN2at7Context17setBenchmarkCuDNNEb(uint64_t, bool)');
  if (context !== undefined) tryKernels?.(context, true);
  let events: CudaDriver;
  try {
    events = new CudaDriver(library, device.index);
  } catch (error) {
    const reason = (error as Error).message;
    once(`${deviceText(device)}: the host waits for each step, since ${reason}`);
    return undefined;
  }
  const onRefused = (reason: string) =>
    once(`${deviceText(device)}: a graph is run call by call, since ${reason}`);
  let graphs: GraphPool | undefined;
  try {
    if (cudaGraphs) graphs = new GraphPool(library, events, () => memory.releaseCache());
  } catch (error) {
    onRefused((error as Error).message);
  }
  return { events, graphs, onRefused };
}
