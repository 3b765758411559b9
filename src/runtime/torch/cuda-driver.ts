/**
 * @file The few functions of NVIDIA's driver that capture the work of a stream as a graph and launch it
 * again (docs.nvidia.com/cuda/cuda-driver-api). All return 0 for success.
 */

import koffi, { type LibraryHandle } from 'koffi';
import type { TorchLibrary } from './torch-library.ts';

/** CU_STREAM_NON_BLOCKING: it does not wait for the default stream. */
const nonBlocking = 1;
/** CU_EVENT_DISABLE_TIMING. */
const withoutTiming = 2;
/** CU_STREAM_CAPTURE_MODE_RELAXED: memory may be allocated meanwhile. */
const relaxed = 2;

/** A CUDA stream or a captured graph, by address. */
export type CudaStream = number;
export type CudaGraph = number;

export class CudaDriver {
  readonly #library: TorchLibrary;
  readonly #index: number;
  readonly #driver: LibraryHandle;
  readonly #functions = new Map<string, ReturnType<LibraryHandle['func']>>();
  readonly #event: number;
  #current: CudaStream | undefined;

  /** @param index of the device; torch must have used it before, so that it has a context */
  constructor(library: TorchLibrary, index: number) {
    this.#library = library;
    this.#index = index;
    this.#driver = koffi.load(process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1');
    this.#event = this.#made('cuEventCreate(uint64_t, uint32_t)', withoutTiming);
  }

  /**
   * A new stream. torch's allocator keeps the memory that was freed on a stream for later tensors of
   * that stream, so that the memory of a graph captured on it is nobody else's.
   */
  createStream(): CudaStream {
    return this.#made('cuStreamCreate(uint64_t, uint32_t)', nonBlocking);
  }

  /** Lets torch work on this stream, after all that was begun on the one before. */
  use(stream: CudaStream): void {
    const before = this.#current;
    if (before !== undefined && before !== stream) {
      this.#must('cuEventRecord(uint64_t, uint64_t)', this.#event, before);
      this.#must('cuStreamWaitEvent(uint64_t, uint64_t, uint32_t)', stream, this.#event, 0);
    }
    const set = this.#library.find('int torch_set_current_cuda_stream(uint64_t, int32_t)');
    if (set?.(stream, this.#index) !== 0) {
      throw new Error('internal: libtorch cannot change its CUDA stream');
    }
    this.#current = stream;
  }

  /** Waits for all work on the device. */
  synchronize(): void {
    this.#must('cuCtxSynchronize()');
  }

  /** What `work` does on the stream, without doing it; undefined where it cannot be captured. */
  capture(stream: CudaStream, work: () => void): CudaGraph | undefined {
    if (this.#call('cuStreamBeginCapture_v2(uint64_t, int)', stream, relaxed) !== 0)
      return undefined;
    let failed = false;
    try {
      work();
    } catch {
      failed = true;
    }
    const graph = this.#tried('cuStreamEndCapture(uint64_t, uint64_t)', stream);
    if (graph === undefined) return undefined;
    const executable = failed
      ? undefined
      : this.#tried('cuGraphInstantiateWithFlags(uint64_t, uint64_t, uint64_t)', graph, 0);
    this.#call('cuGraphDestroy(uint64_t)', graph);
    return executable;
  }

  launch(graph: CudaGraph, stream: CudaStream): void {
    this.#must('cuGraphLaunch(uint64_t, uint64_t)', graph, stream);
  }

  destroyGraph(graph: CudaGraph): void {
    this.#call('cuGraphExecDestroy(uint64_t)', graph);
  }

  destroyStream(stream: CudaStream): void {
    if (this.#current === stream) this.#current = undefined;
    this.#call('cuStreamDestroy_v2(uint64_t)', stream);
  }

  #call(signature: string, ...args: number[]): number {
    let call = this.#functions.get(signature);
    if (!call) {
      call = this.#driver.func(`int ${signature}`);
      this.#functions.set(signature, call);
    }
    return call(...args) as number;
  }

  #must(signature: string, ...args: number[]): void {
    const status = this.#call(signature, ...args);
    if (status !== 0)
      throw new Error(`internal: CUDA: ${signature.split('(')[0]}: error ${status}`);
  }

  /** What a function writes: to its first parameter, but for the end of a capture, to its last. */
  #tried(signature: string, ...args: number[]): number | undefined {
    const out = this.#library.allocateCells(1);
    const order = signature.startsWith('cuStreamEndCapture') ? [...args, out] : [out, ...args];
    const status = this.#call(signature, ...order);
    const [made] = new BigUint64Array(this.#library.view(out, 8).slice(0));
    this.#library.freeCells(out);
    return status === 0 ? Number(made) : undefined;
  }

  #made(signature: string, ...args: number[]): number {
    const made = this.#tried(signature, ...args);
    if (made === undefined) throw new Error(`internal: CUDA: ${signature.split('(')[0]} failed`);
    return made;
  }
}
