/**
 * @file The few functions of NVIDIA's driver that libtorch has no C function for: a stream, events that
 * the host can ask, graphs of captured work, and kernels of our own (docs.nvidia.com/cuda/cuda-driver-api). All return 0 for
 * success. Streams and graphs are the same things in the driver and in the runtime that libtorch uses.
 */

import type { LibraryHandle } from 'koffi';
import { loadNvidiaLibrary } from './nvidia-library.ts';
import type { TorchLibrary } from './torch-library.ts';

/** CU_STREAM_NON_BLOCKING: it does not wait for the default stream, which may not be captured. */
const nonBlocking = 1;
/** CU_EVENT_DISABLE_TIMING. */
const withoutTiming = 2;
/** CU_STREAM_CAPTURE_MODE_RELAXED: the allocator may ask the device for memory meanwhile. */
const relaxed = 2;
/** CU_STREAM_CAPTURE_STATUS_INVALIDATED. */
const invalidated = 2;
/** CUDA_ERROR_NOT_READY. */
const notReady = 600;
/**
 * CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH and _USE_NODE_PRIORITY, with which PyTorch instantiates its graphs:
 * without the second, all kernels of a graph have the priority of the stream that it is launched on.
 */
const instantiation = 1 | 8;

/** Priorities of streams, which kernels in graphs keep: the lower number goes first (cuStreamCreateWithPriority). */
const first = -1;
const last = 0;

/** Handles, which are addresses. */
export type CudaStream = number;
export type CudaEvent = number;
export type CudaGraph = number;
export type CudaExecutable = number;
export type CudaFunction = number;

/** Makes a stream libtorch's own. @returns what undoes it; undefined where libtorch does not take it */
type StreamChanger = (stream: CudaStream) => (() => void) | undefined;

type DriverArgument = number | string | Buffer;

export class CudaDriver {
  readonly #library: TorchLibrary;
  readonly #driver: LibraryHandle;
  readonly #functions = new Map<string, ReturnType<LibraryHandle['func']>>();
  readonly #change: StreamChanger;
  /** Where libtorch computes. */
  readonly stream: CudaStream;
  readonly #launch: ReturnType<LibraryHandle['func']>;
  /** A cell for what is not asked for. */
  readonly #total: number;

  /**
   * Makes a stream on which libtorch computes from now on, on this thread.
   * @param index of the device; torch must have used it before, so that it has a context
   * @throws where the driver is not there or does not do it
   */
  constructor(library: TorchLibrary, index: number) {
    this.#library = library;
    this.#total = library.allocateCells(1);
    this.#driver = loadNvidiaLibrary();
    this.#launch = this.#driver.func(
      'int cuLaunchKernel(uint64_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint64_t, uint64_t, uint64_t)',
    );
    this.#chooseDevice(index);
    this.stream = this.#madeStream(first);
    this.#change = this.#streamChanger(index);
    if (!this.#change(this.stream)) throw new Error('libtorch takes no stream of ours');
  }

  #madeStream(priority: number): CudaStream {
    return this.#made('cuStreamCreateWithPriority(uint64_t, uint32_t, int)', nonBlocking, priority);
  }

  /** Makes the device's context this thread's, for all calls to the driver. */
  #chooseDevice(index: number): void {
    const library = this.#library;
    const guard = library.allocateCells(1);
    // The guard is left alone: it would go back to the first device.
    const choose = library.find('int aoti_torch_create_cuda_guard(int32_t, uint64_t)');
    if (choose?.(index, guard) !== 0) throw new Error(`libtorch cannot choose device ${index}`);
    const device = this.#tried('cuCtxGetDevice(uint64_t)');
    if (device !== index) throw new Error(`the driver's device is ${device}, not ${index}`);
  }

  /** By the function that this version has. */
  #streamChanger(index: number): StreamChanger {
    const library = this.#library;
    const set = library.find('int torch_set_current_cuda_stream(uint64_t, int32_t)');
    if (set) {
      const goBack = () => set(this.stream, index);
      return (stream) => (set(stream, index) === 0 ? goBack : undefined);
    }
    const put = library.find(
      'int aoti_torch_create_cuda_stream_guard(uint64_t, int32_t, uint64_t)',
    );
    const remove = library.find('int aoti_torch_delete_cuda_stream_guard(uint64_t)');
    return (stream) => {
      const guard = library.allocateCells(1);
      if (put?.(stream, index, guard) !== 0) return undefined;
      return () => {
        remove?.(Number(new BigUint64Array(library.view(guard, 8))[0]));
        library.freeCells(guard);
      };
    };
  }

  /** A stream beside libtorch's, behind which it stands back. */
  createStream(): CudaStream {
    return this.#madeStream(last);
  }

  /** What libtorch begins meanwhile, it begins on this stream. */
  computeOn(stream: CudaStream, work: () => void): void {
    const goBack = this.#change(stream);
    if (!goBack) throw new Error('internal: libtorch takes no second stream');
    try {
      work();
    } finally {
      goBack();
    }
  }

  createEvent(): CudaEvent {
    return this.#made('cuEventCreate(uint64_t, uint32_t)', withoutTiming);
  }

  /** The event happens when all that was begun on the stream is done; libtorch's unless given. */
  record(event: CudaEvent, stream: CudaStream = this.stream): void {
    this.#must('cuEventRecord(uint64_t, uint64_t)', event, stream);
  }

  /** What is begun on the stream from now on waits until what was recorded has happened. */
  waitFor(event: CudaEvent, stream: CudaStream): void {
    this.#must('cuStreamWaitEvent(uint64_t, uint64_t, uint32_t)', stream, event, 0);
  }

  /** Whether what was recorded last has happened. @throws for an error of the work before it */
  hasHappened(event: CudaEvent): boolean {
    const status = this.#call('cuEventQuery(uint64_t)', event);
    if (status !== 0 && status !== notReady) throw failure('cuEventQuery', status);
    return status === 0;
  }

  /** Bytes of the device that no process has. */
  freeMemory(): number {
    return this.#tried('cuMemGetInfo_v2(uint64_t, uint64_t)', this.#total) ?? 0;
  }

  destroyEvent(event: CudaEvent): void {
    this.#call('cuEventDestroy_v2(uint64_t)', event);
  }

  /** Waits for all that was begun on the stream. */
  synchronize(): void {
    this.#must('cuStreamSynchronize(uint64_t)', this.stream);
  }

  /** Begins to gather what is begun on the stream, instead of doing it. @returns whether it does */
  beginCapture(): boolean {
    return this.#call('cuStreamBeginCapture_v2(uint64_t, int)', this.stream, relaxed) === 0;
  }

  /** Whether something was done since that cannot be captured. */
  isCaptureBroken(stream: CudaStream = this.stream): boolean {
    const status = this.#tried('cuStreamIsCapturing(uint64_t, uint64_t)', stream);
    return status === undefined || status === invalidated;
  }

  /** Ends a capture, a broken one as well. @returns what was gathered; undefined where it was broken */
  endCapture(stream: CudaStream = this.stream): CudaGraph | undefined {
    return this.#tried('cuStreamEndCapture(uint64_t, uint64_t)', stream);
  }

  /** Makes a graph ready to be launched; undefined where the driver cannot. */
  instantiate(graph: CudaGraph): CudaExecutable | undefined {
    const signature = 'cuGraphInstantiateWithFlags(uint64_t, uint64_t, uint64_t)';
    return this.#tried(signature, graph, instantiation);
  }

  launch(executable: CudaExecutable): void {
    this.#must('cuGraphLaunch(uint64_t, uint64_t)', executable, this.stream);
  }

  /** A function of machine code for this device, which stays loaded. @throws where it is not that */
  loadFunction(code: Buffer, name: string): CudaFunction {
    const module = this.#made('cuModuleLoadData(uint64_t, const void*)', code);
    return this.#made('cuModuleGetFunction(uint64_t, uint64_t, const char*)', module, name);
  }

  /**
   * Begins a kernel on the stream.
   * @param grid blocks in x and y
   * @param block threads in x
   * @param parameters the address of the array with each parameter's address
   */
  launchFunction(
    made: CudaFunction,
    [columns, rows]: readonly [number, number],
    block: number,
    parameters: number,
  ): void {
    const status = this.#launch(made, columns, rows, 1, block, 1, 1, 0, this.stream, parameters, 0);
    if (status !== 0) throw failure('cuLaunchKernel', status);
  }

  destroyGraph(graph: CudaGraph): void {
    this.#call('cuGraphDestroy(uint64_t)', graph);
  }

  destroyExecutable(executable: CudaExecutable): void {
    this.#call('cuGraphExecDestroy(uint64_t)', executable);
  }

  #call(signature: string, ...args: DriverArgument[]): number {
    let call = this.#functions.get(signature);
    if (!call) {
      call = this.#driver.func(`int ${signature}`);
      this.#functions.set(signature, call);
    }
    return call(...args) as number;
  }

  #must(signature: string, ...args: DriverArgument[]): void {
    const status = this.#call(signature, ...args);
    if (status !== 0) throw failure(signature, status);
  }

  /** What a function writes: to its first parameter, but those that ask a stream, to their last. */
  #tried(signature: string, ...args: DriverArgument[]): number | undefined {
    const out = this.#library.allocateCells(1);
    const cell = new BigUint64Array(this.#library.view(out, 8));
    // Some write four bytes.
    cell[0] = 0n;
    const order = /^cuStream(EndCapture|IsCapturing)/.test(signature)
      ? [...args, out]
      : [out, ...args];
    const status = this.#call(signature, ...order);
    const made = Number(cell[0]);
    this.#library.freeCells(out);
    return status === 0 ? made : undefined;
  }

  #made(signature: string, ...args: DriverArgument[]): number {
    const made = this.#tried(signature, ...args);
    if (made === undefined) throw new Error(`${signature.split('(')[0]} failed`);
    return made;
  }
}

const failure = (signature: string, status: number) =>
  new Error(`internal: CUDA: ${signature.split('(')[0]}: error ${status}`);
