/**
 * @file Goes through the calls of a plan as libtorch would on a GPU, with shapes and strides but without
 * values: which of them copy, and how many bytes are alive.
 */

import { channelsLastStrides } from '../src/runtime/torch/device-memory.ts';
import type { LoweredGraph } from '../src/runtime/torch/lower-graph.ts';
import {
  type Argument,
  type Call,
  readsOf,
  resultsOf,
  tensorsIn,
  type Value,
} from '../src/runtime/torch/torch-emitter.ts';
import type { TorchDType } from '../src/runtime/torch/torch-library.ts';
import { type Shape, sizeOf, stridesOf } from '../src/tensor/shape.ts';

/** A tensor as libtorch has it. */
interface Layout {
  readonly shape: Shape;
  readonly strides: Shape;
  readonly storage: Storage;
}

interface Storage {
  readonly bytes: number;
  /** Leaves are there all the time. */
  readonly fixed: boolean;
  /** Values that show it. */
  values: number;
  /** The operation that made it. */
  readonly origin: string;
}

export interface Trace {
  /** Calls, and what they do inside, by name; each is one kernel or a fixed number of them. */
  readonly kernels: ReadonlyMap<string, number>;
  /** Largest sum of bytes, without leaves. */
  readonly peakBytes: number;
  /** What is alive at that moment, in bytes, by the operation that made it. */
  readonly atPeak: ReadonlyMap<string, number>;
  /** Bytes that calls read and write, each value of a call once. */
  readonly movedBytes: number;
}

const bytesOf: { readonly [D in TorchDType]: number } = {
  f32: 4,
  bf16: 2,
  f16: 2,
  i32: 4,
  i64: 8,
  bool: 1,
};

/** Whether elements lie in this order; dimensions of one element do not count. */
const liesAs = ({ shape, strides }: Layout, order: Shape) =>
  shape.every((size, i) => size === 1 || strides[i] === order[i]);

const isPlain = (x: Layout) => liesAs(x, stridesOf(x.shape));
const isImage = (x: Layout) =>
  x.shape.length === 4 && !isPlain(x) && liesAs(x, channelsLastStrides(x.shape));

/** Strides of a view of another shape; undefined where the elements would have to be moved. */
function viewStrides({ shape, strides }: Layout, target: Shape): Shape | undefined {
  if (sizeOf(shape) === 0) return stridesOf(target);
  // Runs of dimensions that lie one inside the other, from the last one on.
  const result = new Array<number>(target.length).fill(1);
  let at = target.length - 1;
  let run = 1;
  let base = strides.at(-1) ?? 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    run *= shape[i]!;
    const ends = i === 0 || (shape[i - 1] !== 1 && strides[i - 1] !== run * base);
    if (!ends) continue;
    let filled = 1;
    while (at >= 0 && (filled < run || target[at] === 1)) {
      result[at] = filled * base;
      filled *= target[at]!;
      at--;
    }
    if (filled !== run) return undefined;
    if (i > 0) {
      base = strides[i - 1]!;
      run = 1;
    }
  }
  return result;
}

const wholeIn = (argument: Argument | undefined): number => {
  if (argument?.kind === 'whole') return argument.number;
  throw new Error('internal: a number is expected');
};
const wholesIn = (argument: Argument | undefined): number[] => {
  if (argument?.kind === 'some') return wholesIn(argument.argument);
  if (argument?.kind === 'list') return argument.items.map(wholeIn);
  throw new Error('internal: a list of numbers is expected');
};

/** Operations whose result has the layout of their first image of full size. */
const elementwise = new Set([
  ...[
    'mul',
    'gt',
    'where',
    'div',
    'exp',
    'sqrt',
    'sigmoid',
    'silu',
    'silu_backward',
    'gelu',
    'gelu_backward',
  ],
  ...['subtract', 'to', 'clone'],
]);

/** Those that write where they are told to. */
const products = new Set(['mm', 'bmm']);

type Dispatch = Call & { readonly kind: 'dispatch' | 'native' };

class Tracer {
  readonly kernels = new Map<string, number>();
  readonly #values = new Map<number, Layout>();
  readonly #storages = new Set<Storage>();
  #alive = 0;
  peak = 0;
  atPeak = new Map<string, number>();
  moved = 0;
  #launches = 0;

  leaf(value: Value, shape: Shape, strides: Shape = stridesOf(shape)): void {
    const storage = { bytes: 0, fixed: true, values: 1, origin: 'leaf' };
    this.#values.set(value.id, { shape, strides, storage });
  }

  of({ id }: Value): Layout {
    const found = this.#values.get(id);
    if (!found) throw new Error(`internal: value ${id} is not there`);
    return found;
  }

  count(name: string, times = 1): void {
    this.kernels.set(name, (this.kernels.get(name) ?? 0) + times);
    this.#launches += times;
  }

  /** A new tensor, in bytes of its type. */
  make(value: Value, shape: Shape, strides: Shape, origin: string): void {
    const bytes = sizeOf(shape) * bytesOf[value.dtype];
    const storage = { bytes, fixed: false, values: 1, origin };
    this.#storages.add(storage);
    this.#alive += bytes;
    this.#values.set(value.id, { shape, strides, storage });
    this.#look();
  }

  view(value: Value, x: Layout, shape: Shape, strides: Shape): void {
    x.storage.values++;
    this.#values.set(value.id, { shape, strides, storage: x.storage });
  }

  /** Memory that an operation takes and gives back. */
  within(bytes: number): void {
    this.#alive += bytes;
    this.#look();
    this.#alive -= bytes;
  }

  free(id: number): void {
    const found = this.#values.get(id);
    if (!found) return;
    this.#values.delete(id);
    const { storage } = found;
    if (--storage.values > 0 || storage.fixed) return;
    this.#alive -= storage.bytes;
    this.#storages.delete(storage);
  }

  #look(): void {
    if (this.#alive <= this.peak) return;
    this.peak = this.#alive;
    this.atPeak = new Map();
    for (const { bytes, origin } of this.#storages) {
      this.atPeak.set(origin, (this.atPeak.get(origin) ?? 0) + bytes);
    }
  }

  /** A copy inside of an operation, where the layout is not one that it takes. */
  prepared(x: Layout, takes: boolean, dtype: TorchDType): void {
    if (takes) return;
    this.count('copy inside');
    this.within(sizeOf(x.shape) * bytesOf[dtype]);
  }

  /** A factor of a product: rows or columns have to lie one after the other. */
  factor(x: Layout, dtype: TorchDType): void {
    const [row, column] = x.strides.slice(-2) as [number, number];
    const [rows, columns] = x.shape.slice(-2) as [number, number];
    this.prepared(x, row === 1 || column === 1 || rows === 1 || columns === 1, dtype);
  }

  elementwise(op: string, inputs: readonly Value[], result: Value): void {
    const layouts = inputs.map((value) => this.of(value));
    const rank = Math.max(...layouts.map(({ shape }) => shape.length));
    const shape = Array.from({ length: rank }, (_, i) =>
      Math.max(...layouts.map((x) => x.shape[i - rank + x.shape.length] ?? 1)),
    );
    const like = layouts.find((x) => `${x.shape}` === `${shape}`);
    // Strides in the order of the first operand's, without gaps.
    const order = shape
      .map((_, i) => i)
      .sort((a, b) => (like ? like.strides[b]! - like.strides[a]! : 0) || a - b);
    const strides = new Array<number>(rank).fill(1);
    let step = 1;
    for (const axis of order.reverse()) {
      strides[axis] = step;
      step *= shape[axis]!;
    }
    this.count(op);
    this.make(result, shape, strides, op);
  }

  run(call: Call): void {
    const before = this.#launches;
    // Of what is written to, only a part is touched.
    const { whole } = call as { readonly whole?: Value };
    const read = new Set(readsOf(call).filter((value) => value !== whole));
    const bytes = Array.from(read, (value) => this.#bytesOf(value)).reduce((a, b) => a + b, 0);
    this.#apply(call);
    // Views move nothing.
    if (this.#launches === before) return;
    const written = whole ? [] : resultsOf(call).filter(({ id }) => this.#values.has(id));
    this.moved += written.reduce((sum, value) => sum + this.#bytesOf(value), bytes);
  }

  #bytesOf(value: Value): number {
    return sizeOf(this.of(value).shape) * bytesOf[value.dtype];
  }

  #apply(call: Call): void {
    switch (call.kind) {
      case 'dispatch':
      case 'native':
        this.#dispatch(call);
        break;
      case 'subtract':
        this.elementwise('subtract', [call.a, call.b], call.result);
        break;
      case 'accumulate':
        for (const value of [call.a, call.b]) this.factor(this.of(value), value.dtype);
        this.count('sum of products in place');
        this.same(call.result, this.of(call.into));
        break;
      case 'allocate':
        this.make(
          call.result,
          call.shape,
          call.strides ?? stridesOf(call.shape),
          'written in place',
        );
        break;
      case 'write':
        if (products.has(call.op)) {
          for (const value of call.args.flatMap(tensorsIn))
            this.factor(this.of(value), value.dtype);
        }
        this.count(`${call.op} in place`);
        this.same(call.result, this.of(call.whole));
        break;
      case 'place':
        this.count('copy in place');
        this.same(call.result, this.of(call.whole));
        break;
      case 'launch':
        this.count(call.launch.kernel.entry);
        for (const { value, shape, strides } of call.results) {
          this.make(value, shape, strides ?? stridesOf(shape), call.launch.kernel.entry);
        }
        break;
      case 'copy':
        this.count('copy');
        break;
      case 'alias':
        this.same(call.result, this.of(call.of));
    }
  }

  /** Another name of a tensor. */
  same(value: Value, x: Layout): void {
    this.view(value, x, x.shape, x.strides);
  }

  #dispatch({ op, args, results }: Dispatch): void {
    const inputs = args.flatMap(tensorsIn);
    if (elementwise.has(op)) {
      this.elementwise(op, inputs, results[0]!);
      return;
    }
    const rule = rules[op];
    if (!rule) throw new Error(`internal: ${op} is not known here`);
    rule(this, { op, args, results, result: results[0]!, inputs: inputs.map((x) => this.of(x)) });
  }
}

/** A call with the tensors that it reads. */
interface Traced extends Pick<Dispatch, 'op' | 'args' | 'results'> {
  readonly result: Value;
  readonly inputs: readonly Layout[];
}

type Rule = (t: Tracer, call: Traced) => void;

const reshape: Rule = (t, { args, result, inputs: [x] }) => {
  const shape = wholesIn(args[1]);
  const strides = viewStrides(x!, shape);
  if (strides) {
    t.view(result, x!, shape, strides);
    return;
  }
  t.count('copy by reshape');
  t.make(result, shape, stridesOf(shape), 'copy by reshape');
};

const expand: Rule = (t, { args, result, inputs: [x] }) => {
  const shape = wholesIn(args[1]);
  const lead = shape.length - x!.shape.length;
  const strides = shape.map((size, i) =>
    i < lead || x!.shape[i - lead] !== size ? 0 : x!.strides[i - lead]!,
  );
  t.view(result, x!, shape, strides);
};

const contiguous: Rule = (t, { args, result, inputs: [x] }) => {
  const order = wholeIn(args[1]) === 0 ? stridesOf(x!.shape) : channelsLastStrides(x!.shape);
  if (liesAs(x!, order)) {
    t.same(result, x!);
    return;
  }
  t.count('copy to contiguous');
  t.make(result, x!.shape, order, 'copy to contiguous');
};

const linear: Rule = (t, { op, result, inputs: [x, w] }) => {
  const matrix = [sizeOf(x!.shape) / x!.shape.at(-1)!, x!.shape.at(-1)!];
  const strides = viewStrides(x!, matrix);
  t.prepared(x!, strides !== undefined, result.dtype);
  if (strides) t.factor({ ...x!, shape: matrix, strides }, result.dtype);
  t.count(op);
  const shape = x!.shape.with(-1, w!.shape[0]!);
  t.make(result, shape, stridesOf(shape), op);
};

const matmul: Rule = (t, { op, result, inputs: [a, b] }) => {
  for (const side of [a!, b!]) t.factor(side, result.dtype);
  t.count(op);
  const shape = [...a!.shape.slice(0, -1), b!.shape.at(-1)!];
  t.make(result, shape, stridesOf(shape), op);
};

/** Tensors that one launch joins (aten/src/ATen/native/cuda/Shape.cu). */
const joinedAtOnce = 128;

const cat: Rule = (t, { op, args, result, inputs }) => {
  const axis = wholeIn(args[1]);
  const total = inputs.reduce((sum, { shape }) => sum + shape[axis]!, 0);
  const shape = inputs[0]!.shape.with(axis, total);
  t.count(op, Math.ceil(inputs.length / joinedAtOnce));
  t.make(result, shape, inputs.every(isImage) ? channelsLastStrides(shape) : stridesOf(shape), op);
};

const norm: Rule = (t, { op, args, results, result, inputs: [x] }) => {
  t.count(op);
  t.make(result, x!.shape, stridesOf(x!.shape), op);
  const groups = op === 'native_group_norm' ? wholeIn(args[6]) * x!.shape[0]! : 0;
  const rows = groups || sizeOf(x!.shape) / x!.shape.at(-1)!;
  for (const value of results.slice(1)) t.make(value!, [rows], [1], 'statistics');
};

const normGradient: Rule = (t, { op, result, inputs: [x] }) => {
  t.count(op);
  t.make(result, x!.shape, stridesOf(x!.shape), op);
};

const resized =
  (shapeOf: (call: Traced) => Shape): Rule =>
  (t, call) => {
    const shape = shapeOf(call);
    t.count(call.op);
    const strides = isImage(call.inputs[0]!) ? channelsLastStrides(shape) : stridesOf(shape);
    t.make(call.result, shape, strides, call.op);
  };

const sum: Rule = (t, { op, args, result, inputs: [x] }) => {
  const axes = wholesIn(args[1]);
  const shape = x!.shape.map((size, i) => (axes.includes(i) ? 1 : size));
  t.count(op);
  t.make(result, shape, stridesOf(shape), op);
};

const convolution: Rule = (t, { op, args, result, inputs: [x, weight, bias] }) => {
  const [stride, padding] = [wholesIn(args[3]), wholesIn(args[4])];
  const isTransposed = wholeIn(args[6]) === 1;
  const rest = wholesIn(args[7]);
  const size = (i: number) => {
    const [n, k] = [x!.shape[2 + i]!, weight!.shape[2 + i]!];
    return isTransposed
      ? (n - 1) * stride[i]! - 2 * padding[i]! + k + rest[i]!
      : Math.floor((n + 2 * padding[i]! - k) / stride[i]!) + 1;
  };
  const shape = [x!.shape[0]!, weight!.shape[isTransposed ? 1 : 0]!, size(0), size(1)];
  const last = liesAs(weight!, channelsLastStrides(weight!.shape));
  t.prepared(x!, !last || liesAs(x!, channelsLastStrides(x!.shape)), result.dtype);
  t.count(op);
  if (bias) t.count('bias of a convolution');
  t.make(result, shape, last ? channelsLastStrides(shape) : stridesOf(shape), op);
};

/** [n, heads, tokens, d], kept as [n, tokens, heads, d]. */
const headStrides = ({ shape: [, heads, tokens, channels] }: Layout): Shape => [
  heads! * tokens! * channels!,
  channels!,
  heads! * channels!,
  1,
];

const attention: Rule = (t, { op, results, inputs: [q] }) => {
  t.count(op);
  t.make(results[0]!, q!.shape, headStrides(q!), op);
  const rows = q!.shape.slice(0, 3);
  t.make(results[1]!, rows, stridesOf(rows), 'statistics');
  for (const value of results.slice(2)) if (value) t.make(value, [1], [1], 'statistics');
};

const attentionGradient: Rule = (t, { op, results, inputs: [, q, k, v] }) => {
  t.count(op);
  // The gradient of q is summed up in f32, in heads of a multiple of 32.
  const [n, heads, tokens, channels] = q!.shape as [number, number, number, number];
  t.within(4 * n * heads * tokens * (32 * Math.ceil(channels / 32) + 1));
  for (const [i, like] of [q!, k!, v!].entries()) {
    t.make(results[i]!, like.shape, headStrides(like), op);
  }
};

const rules: Readonly<Record<string, Rule>> = {
  reshape,
  permute: (t, { args, result, inputs: [x] }) => {
    const pick = (list: Shape) => wholesIn(args[1]).map((i) => list[i]!);
    t.view(result, x!, pick(x!.shape), pick(x!.strides));
  },
  transpose: (t, { result, inputs: [x] }) => {
    const swap = (list: Shape) => [...list.slice(0, -2), list.at(-1)!, list.at(-2)!];
    t.view(result, x!, swap(x!.shape), swap(x!.strides));
  },
  narrow: (t, { args, result, inputs: [x] }) =>
    t.view(result, x!, x!.shape.with(wholeIn(args[1]), wholeIn(args[3])), x!.strides),
  expand,
  contiguous,
  linear,
  matmul,
  convolution,
  cat,
  sum,
  native_group_norm: norm,
  native_layer_norm: norm,
  native_group_norm_backward: normGradient,
  native_layer_norm_backward: normGradient,
  upsample_nearest2d: resized(({ args, inputs: [x] }) => [
    ...x!.shape.slice(0, 2),
    ...wholesIn(args[1]),
  ]),
  upsample_nearest2d_backward: resized(({ args }) => wholesIn(args[2])),
  _scaled_dot_product_flash_attention: attention,
  _scaled_dot_product_cudnn_attention: attention,
  _scaled_dot_product_flash_attention_backward: attentionGradient,
  _scaled_dot_product_cudnn_attention_backward: attentionGradient,
};

/** Goes through all calls, giving values back after their last reader. */
export function traceCalls({ calls, leaves, constants, outputs }: LoweredGraph): Trace {
  const tracer = new Tracer();
  for (const { value, shape, source } of leaves) {
    const isKernel = source === 'parameter' && shape.length === 4;
    tracer.leaf(value, shape, isKernel ? channelsLastStrides(shape) : undefined);
  }
  for (const { value, shape } of constants) tracer.leaf(value, shape);
  const kept = new Set(outputs.map(({ value }) => value.id));
  const last = new Map<number, number>();
  for (const [i, call] of calls.entries()) {
    for (const { id } of readsOf(call)) last.set(id, i);
    for (const { id } of resultsOf(call)) if (!last.has(id)) last.set(id, i);
  }
  const dying = calls.map((): number[] => []);
  for (const [id, i] of last) if (!kept.has(id)) dying[i]!.push(id);
  for (const [i, call] of calls.entries()) {
    tracer.run(call);
    for (const id of dying[i]!) tracer.free(id);
  }
  const { kernels, peak, atPeak, moved } = tracer;
  return { kernels, peakBytes: peak, atPeak, movedBytes: moved };
}
