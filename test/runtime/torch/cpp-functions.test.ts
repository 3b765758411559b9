import { expect, test } from 'vitest';
import { findCpp } from '../../../src/runtime/torch/cpp-functions.ts';

/** Takes notes of names and arguments, and of what lies at an address when it is given. */
function notingLibrary() {
  const asked: unknown[] = [];
  const memory = new Map<number, bigint>();
  let next = 4096;
  const library = {
    findNamed: (name: string, result: string, parameters: string[]) => {
      asked.push([name, result, parameters]);
      return ((...args: number[]) => {
        asked.push(
          args.map((value) =>
            memory.has(value) ? [memory.get(value), memory.get(value + 8)] : value,
          ),
        );
      }) as never;
    },
    allocateCells: (count: number) => {
      next += 8 * count;
      return next - 8 * count;
    },
    writeCell: (address: number, bits: bigint) => memory.set(address, bits),
    freeCells: (address: number) => {
      for (const each of [address, address + 8]) memory.delete(each);
    },
  };
  return { library, asked, memory };
}

test('a pair is two numbers in the Itanium ABI', () => {
  const { library, asked } = notingLibrary();
  findCpp(library, 'CUDAGraph::capture_begin', 'linux')?.(16, [0, 7], 2);
  expect(asked).toEqual([
    [
      '_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode',
      'void',
      ['uint64_t', 'uint64_t', 'uint64_t', 'int'],
    ],
    [16, 0, 7, 2],
  ]);
});

test('a pair is its address in Microsoft’s, whose memory is given back', () => {
  const { library, asked, memory } = notingLibrary();
  findCpp(library, 'CUDAGraph::capture_begin', 'win32')?.(16, [0, 7], 2);
  expect(asked).toEqual([
    [
      '?capture_begin@CUDAGraph@cuda@at@@QEAAXU?$pair@_K_K@std@@W4cudaStreamCaptureMode@@@Z',
      'void',
      ['uint64_t', 'uint64_t', 'int'],
    ],
    [16, [0n, 7n], 2],
  ]);
  expect(memory.size).toBe(0);
});

test('what a version has not is undefined', () => {
  const library = { ...notingLibrary().library, findNamed: () => undefined };
  expect(findCpp(library, 'at::globalContext')).toBeUndefined();
});
