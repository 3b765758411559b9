/** @file In which order a second stream waits and is waited for, and what it holds; the driver takes notes. */

import { expect, test } from 'vitest';
import { SideStream } from '../../../src/runtime/torch/side-stream.ts';

function noting() {
  const asked: string[] = [];
  const held = new Set<number>();
  const cell = new ArrayBuffer(8);
  let [events, handles] = [0, 100];
  const library = {
    newHandle: () => {
      held.add(++handles);
      new BigUint64Array(cell)[0] = BigInt(handles);
      return 0;
    },
    deleteTensor: (handle: number) => (held.delete(handle) ? 0 : 1),
    allocateCells: () => 4096,
    view: () => cell,
    lastError: () => '',
  };
  const driver = {
    stream: 1,
    createStream: () => 2,
    createEvent: () => ++events,
    record: (event: number, stream = 1) => {
      asked.push(`${stream} has ${event}`);
    },
    waitFor: (event: number, stream: number) => {
      asked.push(`${stream} waits for ${event}`);
    },
    computeOn: (stream: number, work: () => void) => {
      asked.push(`on ${stream}`);
      work();
    },
  };
  return { side: new SideStream(library, driver), asked, held };
}

test('work begins behind what was begun, and the first stream waits when it joins', () => {
  const { side, asked, held } = noting();
  side.run(() => asked.push('work'), [7, 8]);
  expect(asked).toEqual(['1 has 1', '2 waits for 1', 'on 2', 'work', '2 has 2']);
  expect(held.size).toBe(2);
  asked.length = 0;
  side.join();
  expect(asked).toEqual(['1 waits for 2']);
  expect(held.size).toBe(0);
  side.join();
  expect(asked).toHaveLength(1);
});

test('what is long under way is waited for, so that little is held', () => {
  const { side, asked, held } = noting();
  const most = 6;
  for (let i = 0; i < most; i++) side.run(() => undefined, [i]);
  expect(asked.some((text) => text.startsWith('1 waits'))).toBe(false);
  expect(held.size).toBe(most);
  asked.length = 0;
  side.run(() => undefined, [most]);
  expect(asked[0]).toBe('1 waits for 2');
  expect(asked.at(-1)).toBe('2 has 2');
  expect(held.size).toBe(most);
  side.join();
  expect(held.size).toBe(0);
});

test('what failed is waited for all the same, and leaves nothing held', () => {
  const { side, asked, held } = noting();
  side.run(() => undefined, [1]);
  asked.length = 0;
  side.abandon();
  expect(asked).toEqual(['2 has 1', '1 waits for 1']);
  expect(held.size).toBe(0);
  asked.length = 0;
  side.join();
  expect(asked).toEqual([]);
});
