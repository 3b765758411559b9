/**
 * @file What the driver adds to libtorch on an NVIDIA GPU: a stream that is not waited for, captured graphs,
 * and kernels of our own.
 */

import { computeCapability } from './compute-capability.ts';
import { findCpp } from './cpp-functions.ts';
import { CudaDriver } from './cuda-driver.ts';
import { deviceText, type TorchDevice } from './device.ts';
import { DeviceMemory } from './device-memory.ts';
import { GraphPool } from './graph-pool.ts';
import { cudaLauncher } from './kernels/cuda-launcher.ts';
import type { KernelLauncher } from './kernels/kernel.ts';
import { openCompiler } from './kernels/nvrtc.ts';
import type { ComputeType } from './rules/rule.ts';
import { SideStream } from './side-stream.ts';
import type { TorchLibrary } from './torch-library.ts';

export interface CudaSupport {
  readonly events: CudaDriver;
  /** Absent where graphs are not wanted or cannot be captured. */
  readonly graphs: GraphPool | undefined;
  /** Captures what is only timed, in memory that it gives back; absent as `graphs` is. */
  readonly trials: GraphPool | undefined;
  /** Where graphs have work beside their main stream. */
  readonly side: SideStream | undefined;
  /** Absent where kernels of our own are not wanted or cannot be compiled. */
  readonly launcher: KernelLauncher | undefined;
  /** Notes that a graph is run call by call, and why; each reason once. */
  readonly onRefused: (reason: string) => void;
  /** Notes what libtorch computes though we have a kernel for it, and why; each reason once. */
  readonly onKernelRefused: (what: string, reason: string) => void;
}

export interface CudaSupportOptions {
  readonly library: TorchLibrary;
  readonly device: TorchDevice;
  readonly compute: ComputeType;
  readonly cudaGraphs: boolean;
  readonly fusedKernels: boolean;
  readonly note: (text: string) => void;
}

/** What a device has once in a process: libtorch keeps work space for each stream it was ever given. */
interface DeviceSupport {
  readonly driver: CudaDriver | Error;
  readonly pool: GraphPool | Error;
  readonly trials: GraphPool | Error;
  readonly side: SideStream | Error;
  readonly launcher: KernelLauncher | Error;
}

const devices = new Map<number, DeviceSupport>();

/** What `make` gives, or why it cannot. */
function attempt<T>(make: () => T): T | Error {
  try {
    return make();
  } catch (error) {
    return error as Error;
  }
}

const madeOf = <T>(made: T | Error): T | undefined => (made instanceof Error ? undefined : made);

function supportOf(library: TorchLibrary, device: TorchDevice): DeviceSupport {
  const known = devices.get(device.index);
  if (known) return known;
  // Convolutions have one shape each in a graph: cuDNN may try which of its kernels is fastest.
  // Its trials take no more work space than this, in MiB: kernels that want gigabytes are not worth them.
  process.env['CUDNN_CONV_WSCAP_DBG'] ??= '1024';
  const context = findCpp(library, 'at::globalContext')?.() as number | undefined;
  const tryKernels = findCpp(library, 'Context::setBenchmarkCuDNN');
  if (context !== undefined) tryKernels?.(context, true);
  const driver = attempt(() => new CudaDriver(library, device.index));
  const memory = new DeviceMemory(library, device);
  const pool =
    driver instanceof Error
      ? driver
      : attempt(() => new GraphPool(library, driver, () => memory.releaseCache()));
  const trials = pool instanceof Error ? pool : attempt(() => pool.apart());
  const side = driver instanceof Error ? driver : attempt(() => new SideStream(library, driver));
  const launcher =
    driver instanceof Error ? driver : attempt(() => openLauncher(library, driver, device));
  const support = { driver, pool, trials, side, launcher };
  devices.set(device.index, support);
  return support;
}

function openLauncher(library: TorchLibrary, driver: CudaDriver, { index }: TorchDevice) {
  const capability = computeCapability(index);
  if (capability === undefined) throw new Error('the driver does not say what the GPU can do');
  return cudaLauncher(driver, openCompiler(library.found.folder, capability));
}

/** Undefined, with a note, where the driver cannot be used: libtorch alone is enough, but slower. */
export function openCuda(options: CudaSupportOptions): CudaSupport | undefined {
  const { library, device, compute, cudaGraphs, fusedKernels, note } = options;
  const noted = new Set<string>();
  const once = (text: string) => {
    if (!noted.has(text)) note(text);
    noted.add(text);
  };
  // f32 means f32: cuBLAS and cuDNN would round factors to 10 bits (NVIDIA's name for it, read by both).
  if (compute === 'f32') process.env['NVIDIA_TF32_OVERRIDE'] ??= '0';
  const { driver, pool, trials, side, launcher } = supportOf(library, device);
  if (driver instanceof Error) {
    once(`${deviceText(device)}: the host waits for each step, since ${driver.message}`);
    return undefined;
  }
  const onRefused = (reason: string) =>
    once(`${deviceText(device)}: a graph is run call by call, since ${reason}`);
  if (cudaGraphs && pool instanceof Error) onRefused(pool.message);
  const onKernelRefused = (what: string, reason: string) =>
    once(`${deviceText(device)}: libtorch's kernels compute ${what}, since ${reason}`);
  if (fusedKernels && launcher instanceof Error) {
    onKernelRefused('norms, GEGLU and AdamW', launcher.message);
  }
  return {
    events: driver,
    graphs: cudaGraphs ? madeOf(pool) : undefined,
    trials: cudaGraphs ? madeOf(trials) : undefined,
    side: madeOf(side),
    launcher: fusedKernels ? madeOf(launcher) : undefined,
    onRefused,
    onKernelRefused,
  };
}
