/** @file Compiles CUDA C++ to machine code of one kind of GPU by NVRTC (docs.nvidia.com/cuda/nvrtc). */

import { promisify } from 'node:util';
import koffi, { type LibraryHandle } from 'koffi';
import { nvrtcCandidates } from './find-nvrtc.ts';
import type { Kernel } from './kernel.ts';

/** Both give machine code, and throw where the source has a mistake, with the compiler's words. */
export interface KernelCompiler {
  compile(kernel: Kernel): Buffer;
  /** On a thread beside. */
  compileBeside(kernel: Kernel): Promise<Buffer>;
}

type NativeFunction = ReturnType<LibraryHandle['func']>;

function openNvrtc(torchFolder: string): LibraryHandle {
  for (const { compiler, builtins } of nvrtcCandidates(torchFolder)) {
    try {
      if (builtins) koffi.load(builtins, { global: true });
      return koffi.load(compiler);
    } catch {
      // The next may load.
    }
  }
  throw new Error("NVIDIA's compiler NVRTC is not there");
}

/**
 * @param torchFolder the folder of libtorch's libraries
 * @param architecture compute capability times ten, such as 90
 * @throws where there is no NVRTC, or none that knows the GPU
 */
export function openCompiler(torchFolder: string, architecture: number): KernelCompiler {
  const library = openNvrtc(torchFolder);
  const functions = {
    create: library.func(
      'int nvrtcCreateProgram(_Out_ uint64_t*, const char*, const char*, int, void*, void*)',
    ),
    compile: library.func('int nvrtcCompileProgram(uint64_t, int, const char**)'),
    destroy: library.func('int nvrtcDestroyProgram(uint64_t*)'),
    logSize: library.func('int nvrtcGetProgramLogSize(uint64_t, _Out_ size_t*)'),
    log: library.func('int nvrtcGetProgramLog(uint64_t, void*)'),
    codeSize: library.func('int nvrtcGetCUBINSize(uint64_t, _Out_ size_t*)'),
    code: library.func('int nvrtcGetCUBIN(uint64_t, void*)'),
    count: library.func('int nvrtcGetNumSupportedArchs(_Out_ int*)'),
    architectures: library.func('int nvrtcGetSupportedArchs(void*)'),
  };
  if (!supported(functions).includes(architecture)) {
    throw new Error(`NVIDIA's compiler does not know compute capability ${architecture / 10}`);
  }
  const compileAsync = promisify(functions.compile.async);
  const bytesOf = (size: NativeFunction, fill: NativeFunction, program: bigint): Buffer => {
    const count = [0];
    if (size(program, count) !== 0) return Buffer.alloc(0);
    const bytes = Buffer.alloc(Number(count[0]));
    fill(program, bytes);
    return bytes;
  };
  const options = [`--gpu-architecture=sm_${architecture}`, '--std=c++17'];
  const begin = ({ entry, source }: Kernel): bigint => {
    const out = [0n];
    if (functions.create(out, source, `${entry}.cu`, 0, null, null) !== 0) {
      throw new Error(`internal: NVRTC takes no source for ${entry}`);
    }
    return BigInt(out[0]!);
  };
  const end = ({ entry }: Kernel, program: bigint, status: number): Buffer => {
    try {
      if (status === 0) return bytesOf(functions.codeSize, functions.code, program);
      const log = bytesOf(functions.logSize, functions.log, program).toString('utf8');
      throw new Error(`internal: ${entry} cannot be compiled: ${log.replaceAll('\0', '')}`);
    } finally {
      functions.destroy([program]);
    }
  };
  return {
    compile: (kernel) => {
      const program = begin(kernel);
      return end(kernel, program, functions.compile(program, options.length, options));
    },
    compileBeside: async (kernel) => {
      const program = begin(kernel);
      const status = await compileAsync(program, options.length, options);
      return end(kernel, program, status as number);
    },
  };
}

function supported({
  count,
  architectures,
}: {
  readonly count: NativeFunction;
  readonly architectures: NativeFunction;
}): number[] {
  const size = [0];
  if (count(size) !== 0) return [];
  const list = new Int32Array(size[0]!);
  return architectures(list) === 0 ? [...list] : [];
}
