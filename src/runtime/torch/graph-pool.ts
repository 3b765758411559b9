/**
 * @file Captures work as CUDA graphs by libtorch's own at::cuda::CUDAGraph (aten/src/ATen/cuda/
 * CUDAGraph.h), which gives what is captured a pool of memory that nothing else gets, whatever happens
 * (c10/cuda/CUDACachingAllocator.cpp, "Interaction with CUDA graph capture"). Without it, memory that
 * was freed during a capture would be the allocator's to give away, or back to the device.
 *
 * The class has no C functions, and its members throw where they fail, which would end the process: so all that can
 * fail is tried first by the driver's functions, which only say so.
 */

import { type CppName, findCpp } from './cpp-functions.ts';
import type { CudaDriver, CudaEvent, CudaExecutable, CudaStream } from './cuda-driver.ts';
import type { TorchLibrary } from './torch-library.ts';

/** More than the object's size, some hundred bytes, in cells of 8 bytes. */
const objectCells = 512;
/** cudaStreamCaptureModeRelaxed. */
const relaxed = 2;
/**
 * Pools' numbers must not be libtorch's own, which count from 1 (aten/src/ATen/cuda/MemPool.cpp), and not
 * one that any device had before: pinned memory has pools by the same numbers, whatever the device
 * (aten/src/ATen/core/CachingHostAllocator.h).
 */
let nextPool = 2 ** 40;

const members = {
  construct: 'CUDAGraph::CUDAGraph',
  begin: 'CUDAGraph::capture_begin',
  end: 'CUDAGraph::capture_end',
  raw: 'CUDAGraph::raw_cuda_graph',
  destruct: 'CUDAGraph::~CUDAGraph',
} as const satisfies Readonly<Record<string, CppName>>;

type Members = { readonly [M in keyof typeof members]: NonNullable<ReturnType<typeof findCpp>> };

/** Work that was captured. */
export interface LaunchableGraph {
  /** Begins the work once more. */
  launch(): void;
  /** Gives its memory back; it must not be under way. */
  dispose(): void;
}

/** Captures work; what cannot be captured is a text that says why. */
export interface GraphMaker {
  /** @param isProven it has been captured before */
  capture(work: () => void, isProven?: boolean): LaunchableGraph | string;
}

type CaptureDriver = Pick<
  CudaDriver,
  | 'stream'
  | 'createStream'
  | 'createEvent'
  | 'record'
  | 'waitFor'
  | 'computeOn'
  | 'freeMemory'
  | 'beginCapture'
  | 'isCaptureBroken'
  | 'endCapture'
  | 'instantiate'
  | 'launch'
  | 'destroyGraph'
  | 'destroyExecutable'
  | 'synchronize'
>;

type CaptureLibrary = Pick<TorchLibrary, 'version' | 'find'> & Parameters<typeof findCpp>[0];

/** Whether the class gives its pool back where its capture broke: CUDAGraph::reset does so from 2.14 on. */
const endsByItself = ([major, minor]: TorchLibrary['version']) =>
  major > 2 || (major === 2 && minor >= 14);

/** What all pools of a device share. */
interface DeviceState {
  /**
   * Where captures begin and end; all work is on streams that join in. With each of its graphs, libtorch 2.12 to 2.14
   * gives up cuBLAS's work space of the stream where it began, though others still use it
   * (github.com/pytorch/pytorch/issues/193402).
   */
  readonly origin: CudaStream;
  readonly joined: CudaEvent;
  /** Why nothing more is captured: libtorch before 2.14 counts a capture that broke as under way. */
  broken?: string;
}

/** More than the work had so far, of what is free when it is captured: its pool has no use for holes elsewhere. */
const margin = 1.15;
const leastFree = 64 * 2 ** 20;

export class GraphPool implements GraphMaker {
  readonly #driver: CaptureDriver;
  readonly #library: CaptureLibrary;
  readonly #members: Members;
  readonly #releaseCache: () => void;
  #pool = nextPool++;
  /** Graphs that have the pool; with the last of them it ends, and cannot be taken up again. */
  #users = 0;
  readonly #state: DeviceState;

  /**
   * @param releaseCache lets the allocator give its unused memory back to the device
   * @param state of all pools of one device
   * @throws where this libtorch does not have the class as it is known here
   */
  constructor(
    library: CaptureLibrary,
    driver: CaptureDriver,
    releaseCache: () => void,
    state: DeviceState = { origin: driver.createStream(), joined: driver.createEvent() },
  ) {
    this.#state = state;
    this.#library = library;
    this.#driver = driver;
    this.#releaseCache = releaseCache;
    const found = Object.entries(members).map(([key, name]) => {
      const member = findCpp(library, name);
      if (!member) throw new Error(`libtorch has no ${name} that is known here`);
      return [key, member];
    });
    this.#members = Object.fromEntries(found) as Members;
  }

  /** Captures in memory of its own, which goes back with its last graph. */
  apart(): GraphPool {
    return new GraphPool(this.#library, this.#driver, this.#releaseCache, this.#state);
  }

  capture(work: () => void, isProven = false): LaunchableGraph | string {
    const made = this.#capture(work, isProven);
    // The runtime keeps the last error until it is asked: libtorch would take it for the next kernel's.
    if (typeof made === 'string') this.#library.find('int cudaGetLastError()')?.();
    return made;
  }

  #capture(work: () => void, isProven: boolean): LaunchableGraph | string {
    let flaw = this.#state.broken;
    if (isProven) this.#releaseCache();
    else flaw ??= this.#rehearse(work) ?? this.#makeRoom();
    if (flaw !== undefined) return flaw;
    const driver = this.#driver;
    const { origin, joined } = this.#state;
    const object = this.#library.allocateCells(objectCells);
    const { construct, begin, end, raw } = this.#members;
    driver.computeOn(origin, () => {
      // It keeps the graph, which is instantiated here: without it that, too, could throw.
      construct(object, true);
      begin(object, [0, this.#pool], relaxed);
    });
    this.#users++;
    const join = (from: CudaStream, to: CudaStream) => {
      driver.record(joined, from);
      driver.waitFor(joined, to);
    };
    const failed = attempt(() => {
      join(origin, driver.stream);
      work();
    });
    const unjoined = attempt(() => join(driver.stream, origin));
    if (unjoined !== undefined || driver.isCaptureBroken(origin)) {
      // Its end would throw.
      driver.endCapture(origin);
      const reason = failed ?? 'a capture broke';
      if (endsByItself(this.#library.version)) this.#destroy(object);
      // The next beginning would throw. The object is left as it is: the allocator asks it now and then.
      else this.#state.broken = reason;
      return reason;
    }
    driver.computeOn(origin, () => end(object));
    if (failed !== undefined) {
      this.#destroy(object);
      return failed;
    }
    const executable = driver.instantiate(Number(raw(object)));
    if (executable === undefined) {
      this.#destroy(object);
      return 'the driver cannot instantiate the graph';
    }
    return {
      launch: () => driver.launch(executable),
      dispose: () => this.#destroy(object, executable),
    };
  }

  /**
   * Gives back to the device what the work had so far: the pool gets its own. Before 2.14 a lack of memory breaks the
   * capture where a convolution meets it, for good, so that nothing is begun without room.
   * @returns why there is none
   */
  #makeRoom(): string | undefined {
    const before = this.#driver.freeMemory();
    this.#releaseCache();
    if (this.#users > 0 || endsByItself(this.#library.version)) return undefined;
    const free = this.#driver.freeMemory();
    const enough = margin * (free - before) + leastFree;
    return free < enough ? 'the device has too little memory left for it' : undefined;
  }

  /** Captures the work by the driver alone and forgets it. @returns what is wrong */
  #rehearse(work: () => void): string | undefined {
    const driver = this.#driver;
    if (!driver.beginCapture()) return 'the driver does not begin a capture';
    const failed = attempt(work);
    const graph = driver.endCapture();
    if (graph === undefined) return failed ?? 'something in it cannot be captured';
    const executable = failed === undefined ? driver.instantiate(graph) : undefined;
    driver.destroyGraph(graph);
    if (executable === undefined) return failed ?? 'the driver cannot instantiate the graph';
    driver.destroyExecutable(executable);
    return undefined;
  }

  #destroy(object: number, executable?: CudaExecutable): void {
    if (executable !== undefined) {
      this.#driver.synchronize();
      this.#driver.destroyExecutable(executable);
    }
    this.#members.destruct(object);
    this.#library.freeCells(object);
    this.#users--;
    if (this.#users > 0) return;
    // A pool without users is given up by the allocator, which refuses its number from then on.
    this.#pool = nextPool++;
    this.#releaseCache();
  }
}

/** What went wrong, in a line; undefined where nothing did. */
function attempt(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
}
