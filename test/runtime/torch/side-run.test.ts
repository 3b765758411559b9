/** @file Which calls a second stream is given, and when the first one waits for it; the stream takes notes. */

import { expect, test } from 'vitest';
import { SideRun } from '../../../src/runtime/torch/side-run.ts';
import type { SideStream } from '../../../src/runtime/torch/side-stream.ts';
import { TorchEmitter, tensor } from '../../../src/runtime/torch/torch-emitter.ts';

const f32 = { dtype: 'f32' } as const;

/** A product into a vector that is read twenty calls later. */
function setting() {
  const emitter = new TorchEmitter();
  const x = emitter.leaf('f32');
  const product = emitter.write('mm', 'out', [tensor(x), tensor(x)], emitter.allocate([4], 'f32'));
  let other = x;
  for (let i = 0; i < 20; i++) other = emitter.emit('exp', [tensor(other)], f32);
  emitter.emit('sqrt', [tensor(product)], f32);
  const noted: string[] = [];
  const stream = {
    run: (work: () => void, reads: readonly number[]) => {
      noted.push(`aside, reads ${reads}`);
      work();
    },
    join: () => noted.push('join'),
    abandon: () => noted.push('abandon'),
  };
  const side = stream as unknown as SideStream;
  const actions = emitter.calls.map((call, i) => () => {
    if (call.kind === 'write' || i === emitter.calls.length - 1) noted.push(`call ${i}`);
  });
  return { run: new SideRun(emitter.calls), actions, side, noted, x };
}

test('a product runs there with what it reads held, and its reader comes after a join', () => {
  const { run, actions, side, noted, x } = setting();
  expect(run.isUseful).toBe(true);
  run.run(actions, side, (id) => 100 + id);
  const last = actions.length - 1;
  // The factor once, and the vector.
  expect(noted[0]).toBe(`aside, reads ${100 + x.id},${101 + x.id}`);
  expect(noted.slice(1)).toEqual(['call 1', 'join', `call ${last}`, 'join']);
});

test('what fails leaves nothing under way', () => {
  const { run, actions, side, noted } = setting();
  const failing = actions.with(5, () => {
    throw new Error('no memory');
  });
  expect(() => run.run(failing, side, (id) => id)).toThrow('no memory');
  expect(noted.at(-1)).toBe('abandon');
});
