/**
 * @file What is asked of at::cuda::CUDAGraph and the driver, in which order. Both are stand-ins that take
 * notes: there is a GPU, or test/cuda-rehearsal/, for what they do.
 */

import { expect, test } from 'vitest';
import { GraphPool } from '../../../src/runtime/torch/graph-pool.ts';

/**
 * A pool on a device of its own; `breaks` are the captures, from 1, that break, `free` the bytes of the device as they
 * are asked for.
 */
function poolOn({ breaks = [] as readonly number[], minor = 13, free = [] as number[] } = {}) {
  const asked: string[] = [];
  let captures = 0;
  const begun = (text: string) => {
    asked.push(text);
    captures++;
  };
  const pools: number[] = [];
  const cells = new Map<number, number>();
  const members: Readonly<Record<string, (...args: number[]) => unknown>> = {
    construct: () => asked.push('construct'),
    capture_begin: (_object, first, second) => {
      // Windows gives a pair by its address.
      pools.push(cells.get(first! + 8) ?? second!);
      begun('begin');
    },
    capture_end: () => asked.push('end'),
    raw_cuda_graph: () => 7,
    destruct: () => asked.push('destruct'),
    cudaGetLastError: () => asked.push('last error'),
  };
  const library = {
    version: [2, minor] as const,
    find: (signature: string) => memberOf(signature),
    findNamed: (name: string) => memberOf(name),
    allocateCells: () => 4096,
    writeCell: (address: number, bits: bigint) => cells.set(address, Number(bits)),
    freeCells: () => undefined,
  };
  const memberOf = (name: string) => {
    const known = Object.keys(members).find((member) => name.includes(member));
    const kind = /D1Ev|\?\?1/.test(name) ? 'destruct' : 'construct';
    return members[known ?? kind] as never;
  };
  const driver = {
    stream: 1,
    createStream: () => 2,
    createEvent: () => 3,
    record: () => undefined,
    waitFor: (_event: number, stream: number) => asked.push(stream === 1 ? 'fork' : 'join'),
    computeOn: (_stream: number, begin: () => void) => begin(),
    freeMemory: () => free.shift() ?? 1e9,
    beginCapture: () => {
      begun('rehearse');
      return true;
    },
    isCaptureBroken: () => breaks.includes(captures),
    endCapture: () => {
      asked.push('end of the driver');
      return breaks.includes(captures) ? undefined : 6;
    },
    instantiate: (graph: number) => graph * 10,
    launch: (executable: number) => asked.push(`launch ${executable}`),
    destroyGraph: () => undefined,
    destroyExecutable: () => undefined,
    synchronize: () => undefined,
  };
  return { pool: new GraphPool(library, driver, () => undefined), asked, pools };
}

const work = () => undefined;

test('work is rehearsed by the driver, captured by libtorch, and launched by the driver', () => {
  const { pool, asked } = poolOn();
  const graph = pool.capture(work);
  if (typeof graph === 'string') throw new Error(graph);
  graph.launch();
  graph.dispose();
  const rehearsed = ['rehearse', 'end of the driver'];
  const captured = ['construct', 'begin', 'fork', 'join', 'end'];
  expect(asked).toEqual([...rehearsed, ...captured, 'launch 70', 'destruct']);
});

test('graphs of a device share a pool, and no number is used again, on no device', () => {
  const [one, other] = [poolOn(), poolOn()];
  const graphs = [one, one, other].map(({ pool }) => pool.capture(work));
  for (const graph of graphs) if (typeof graph !== 'string') graph.dispose();
  one.pool.capture(work);
  const [first, second, third] = one.pools;
  expect(second).toBe(first);
  expect(new Set([first, third, ...other.pools]).size).toBe(3);
});

test('after a capture broke, nothing more is begun: libtorch before 2.14 would throw', () => {
  const { pool, asked } = poolOn({ breaks: [2] });
  expect(pool.capture(work)).toBe('a capture broke');
  const before = [...asked];
  expect(before.slice(-2)).toEqual(['end of the driver', 'last error']);
  expect(pool.capture(work)).toBe('a capture broke');
  expect(asked).toEqual([...before, 'last error']);
});

test('graphs apart have a pool of their own, and break with the others', () => {
  const { pool, pools } = poolOn();
  const apart = pool.apart();
  const first = apart.capture(work);
  if (typeof first === 'string') throw new Error(first);
  pool.capture(work);
  // With its last graph the pool goes, and the next one is another.
  first.dispose();
  apart.capture(work);
  expect(new Set(pools).size).toBe(3);
  const broken = poolOn({ breaks: [2] }).pool;
  expect(broken.apart().capture(work)).toBe('a capture broke');
  expect(broken.capture(work)).toBe('a capture broke');
});

test('before 2.14 nothing is begun without room for what the work had, and more', () => {
  const [little, enough] = [1.1e9, 1.3e9].map((left) => poolOn({ free: [left - 1e9, left] }));
  expect(little!.pool.capture(work)).toMatch(/too little memory/);
  expect(little!.asked).not.toContain('begin');
  expect(enough!.pool.capture(work)).toBeTypeOf('object');
  const proven = poolOn({ free: [0.1e9, 1.1e9] });
  expect(proven.pool.capture(work, true)).toBeTypeOf('object');
  expect(proven.asked).not.toContain('rehearse');
  const newer = poolOn({ free: [0.1e9, 1.1e9], minor: 14 });
  expect(newer.pool.capture(work)).toBeTypeOf('object');
});

test('from 2.14 on, a capture that broke gives its pool back, and others follow', () => {
  const { pool, asked, pools } = poolOn({ breaks: [2], minor: 14 });
  expect(pool.capture(work)).toBe('a capture broke');
  expect(asked.slice(-3)).toEqual(['end of the driver', 'destruct', 'last error']);
  expect(pool.capture(work)).toBeTypeOf('object');
  expect(pools[1]).not.toBe(pools[0]);
});

test('what cannot be captured says why in a line', () => {
  const { pool } = poolOn({ breaks: [1] });
  const failing = () => {
    throw new Error('internal: libtorch: aten::to: not now\nwith a trace');
  };
  expect(pool.capture(failing)).toBe('internal: libtorch: aten::to: not now');
});
