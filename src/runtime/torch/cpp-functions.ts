/**
 * @file libtorch's C++ functions that have no C form, by their names in both C++ ABIs: the Itanium ABI (Linux,
 * macOS) and Microsoft's (Windows), where a pair is given by its address. They throw where they fail, which would
 * end the process.
 */

import type { TorchLibrary } from './torch-library.ts';

interface CppFunction {
  readonly itanium: string;
  readonly microsoft: string;
  readonly result: 'void' | 'uint64_t';
  /** `this` is a member's first; a `pair` is two numbers of 8 bytes. */
  readonly parameters: readonly ('uint64_t' | 'bool' | 'int' | 'pair')[];
}

const functions = {
  'at::set_num_threads': {
    itanium: '_ZN2at15set_num_threadsEi',
    microsoft: '?set_num_threads@at@@YAXH@Z',
    result: 'void',
    parameters: ['int'],
  },
  'at::globalContext': {
    itanium: '_ZN2at13globalContextEv',
    microsoft: '?globalContext@at@@YAAEAVContext@1@XZ',
    result: 'uint64_t',
    parameters: [],
  },
  'Context::setBenchmarkCuDNN': {
    itanium: '_ZN2at7Context17setBenchmarkCuDNNEb',
    microsoft: '?setBenchmarkCuDNN@Context@at@@QEAAX_N@Z',
    result: 'void',
    parameters: ['uint64_t', 'bool'],
  },
  'CUDAGraph::CUDAGraph': {
    itanium: '_ZN2at4cuda9CUDAGraphC1Eb',
    microsoft: '??0CUDAGraph@cuda@at@@QEAA@_N@Z',
    result: 'void',
    parameters: ['uint64_t', 'bool'],
  },
  'CUDAGraph::capture_begin': {
    itanium: '_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode',
    microsoft:
      '?capture_begin@CUDAGraph@cuda@at@@QEAAXU?$pair@_K_K@std@@W4cudaStreamCaptureMode@@@Z',
    result: 'void',
    parameters: ['uint64_t', 'pair', 'int'],
  },
  'CUDAGraph::capture_end': {
    itanium: '_ZN2at4cuda9CUDAGraph11capture_endEv',
    microsoft: '?capture_end@CUDAGraph@cuda@at@@QEAAXXZ',
    result: 'void',
    parameters: ['uint64_t'],
  },
  'CUDAGraph::raw_cuda_graph': {
    itanium: '_ZN2at4cuda9CUDAGraph14raw_cuda_graphEv',
    microsoft: '?raw_cuda_graph@CUDAGraph@cuda@at@@QEAAPEAUCUgraph_st@@XZ',
    result: 'uint64_t',
    parameters: ['uint64_t'],
  },
  'CUDAGraph::~CUDAGraph': {
    itanium: '_ZN2at4cuda9CUDAGraphD1Ev',
    microsoft: '??1CUDAGraph@cuda@at@@QEAA@XZ',
    result: 'void',
    parameters: ['uint64_t'],
  },
} as const satisfies Readonly<Record<string, CppFunction>>;

export type CppName = keyof typeof functions;

type Pair = readonly [first: number, second: number];
type CppArgument = number | boolean | Pair;

/** Undefined where this version of libtorch has no such function. */
export function findCpp(
  library: Pick<TorchLibrary, 'findNamed' | 'allocateCells' | 'writeCell' | 'freeCells'>,
  name: CppName,
  platform: NodeJS.Platform = process.platform,
): ((...args: CppArgument[]) => unknown) | undefined {
  const { itanium, microsoft, result, parameters }: CppFunction = functions[name];
  const isMicrosoft = platform === 'win32';
  const types = parameters.flatMap((type): string[] => {
    if (type !== 'pair') return [type];
    return isMicrosoft ? ['uint64_t'] : ['uint64_t', 'uint64_t'];
  });
  const found = library.findNamed(isMicrosoft ? microsoft : itanium, result, types);
  if (!found) return undefined;
  if (!isMicrosoft) return (...args) => found(...args.flat());
  return (...args) => {
    const cells: number[] = [];
    const given = args.map((argument) => {
      if (typeof argument !== 'object') return argument;
      const address = library.allocateCells(2);
      cells.push(address);
      for (const [i, part] of argument.entries()) library.writeCell(address + 8 * i, BigInt(part));
      return address;
    });
    const returned = found(...given);
    for (const address of cells) library.freeCells(address);
    return returned;
  };
}
