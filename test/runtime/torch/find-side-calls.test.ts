/** @file Which products may run beside what follows, and what has to wait for them. */

import { expect, test } from 'vitest';
import { findSideCalls } from '../../../src/runtime/torch/find-side-calls.ts';
import {
  TorchEmitter,
  tensor,
  type Value,
  whole,
  wholes,
} from '../../../src/runtime/torch/torch-emitter.ts';

const f32 = { dtype: 'f32' } as const;

/** Two factors, a vector for two products of them, and calls that have nothing to do with either. */
function setting() {
  const emitter = new TorchEmitter();
  const [a, b, other] = [emitter.leaf('f32'), emitter.leaf('f32'), emitter.leaf('f32')];
  const product = (vector: Value, start: number, x = a, y = b): Value => {
    const part = emitter.emit('narrow', [tensor(vector), whole(0), whole(start), whole(4)], f32);
    const place = emitter.emit('reshape', [tensor(part), wholes([2, 2])], f32);
    return emitter.write('mm', 'out', [tensor(x), tensor(y)], place, vector);
  };
  let last = other;
  const pass = (calls: number): void => {
    for (let i = 0; i < calls; i++) last = emitter.emit('exp', [tensor(last)], f32);
  };
  const indexOf = (value: Value) =>
    emitter.calls.findIndex((call) => 'result' in call && call.result === value);
  return { emitter, b, other, product, pass, indexOf };
}

test('products into a vector that is read much later run aside; its reader waits', () => {
  const { emitter, product, pass, indexOf } = setting();
  const empty = emitter.allocate([8], 'f32');
  const one = product(empty, 0);
  pass(10);
  const both = product(one, 4);
  pass(20);
  emitter.emit('sqrt', [tensor(both)], f32);
  const { aside, joins } = findSideCalls(emitter.calls);
  expect([...aside].sort()).toEqual([indexOf(one), indexOf(both)].sort());
  expect([...joins]).toEqual([emitter.calls.length - 1]);
});

test('a product that is read soon does not', () => {
  const { emitter, product, pass } = setting();
  const made = product(emitter.allocate([4], 'f32'), 0);
  pass(3);
  emitter.emit('sqrt', [tensor(made)], f32);
  pass(30);
  expect(findSideCalls(emitter.calls).aside.size).toBe(0);
});

test('a view of the vector is a reader too', () => {
  const { emitter, product, pass } = setting();
  const made = product(emitter.allocate([4], 'f32'), 0);
  const view = emitter.emit('reshape', [tensor(made), wholes([2, 2])], f32);
  pass(30);
  emitter.emit('sqrt', [tensor(view)], f32);
  expect(findSideCalls(emitter.calls).aside.size).toBe(0);
});

test('what writes over a factor waits, also over what shows it', () => {
  const { emitter, b, product, pass } = setting();
  const x = emitter.emit('exp', [tensor(b)], f32);
  const shown = emitter.emit('transpose', [tensor(x), whole(-2), whole(-1)], {
    ...f32,
    overload: 'int',
  });
  const vector = product(emitter.allocate([8], 'f32'), 0, shown);
  pass(20);
  const sum = emitter.accumulate(x, b, b);
  pass(20);
  emitter.emit('sqrt', [tensor(vector)], f32);
  const { aside, joins } = findSideCalls(emitter.calls);
  expect(aside.size).toBe(1);
  const over = emitter.calls.findIndex((call) => 'result' in call && call.result === sum);
  // Its memory is not read by anything under way when the vector is.
  expect([...joins]).toEqual([over]);
});

test('another part of the vector may be written meanwhile, unless it is read for that', () => {
  for (const reads of [false, true]) {
    const { emitter, other, product, pass, indexOf } = setting();
    const one = product(emitter.allocate([8], 'f32'), 0);
    pass(20);
    const part = emitter.emit('narrow', [tensor(one), whole(0), whole(4), whole(4)], f32);
    const both = emitter.write('exp', 'out', [tensor(reads ? part : other)], part, one);
    pass(20);
    emitter.emit('sqrt', [tensor(both)], f32);
    // What shows the part comes first.
    const { joins } = findSideCalls(emitter.calls);
    expect([...joins]).toEqual([reads ? indexOf(both) - 1 : emitter.calls.length - 1]);
  }
});
