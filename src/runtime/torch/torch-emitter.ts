/** @file Collects the calls that a graph becomes, each distinct call once. */

import type { Shape } from '../../tensor/shape.ts';
import type { Launch } from './kernels/kernel.ts';
import type { TorchDeviceKind, TorchDType } from './torch-library.ts';

/** A tensor of the plan; `id` is the register that holds its handle. */
export interface Value {
  readonly id: number;
  readonly dtype: TorchDType;
}

/** An argument of a call, by the kind that the operation's schema says. */
export type Argument =
  | { readonly kind: 'tensor'; readonly value: Value }
  /** A tensor without a value, where the schema wants one all the same. */
  | { readonly kind: 'undefined' }
  /** int, bool, ScalarType or MemoryFormat. */
  | { readonly kind: 'whole'; readonly number: number }
  | { readonly kind: 'float'; readonly number: number }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Argument[] }
  /** An optional argument that is given, and one that is not. */
  | { readonly kind: 'some'; readonly argument: Argument }
  | { readonly kind: 'none' };

export const tensor = (value: Value): Argument => ({ kind: 'tensor', value });
export const whole = (number: number): Argument => ({ kind: 'whole', number });
export const flag = (on: boolean): Argument => whole(Number(on));
export const float = (number: number): Argument => ({ kind: 'float', number });
export const text = (content: string): Argument => ({ kind: 'text', text: content });
export const wholes = (numbers: readonly number[]): Argument => ({
  kind: 'list',
  items: numbers.map(whole),
});
export const flags = (...on: readonly boolean[]): Argument => ({
  kind: 'list',
  items: on.map(flag),
});
export const tensors = (values: readonly Value[]): Argument => ({
  kind: 'list',
  items: values.map(tensor),
});
export const some = (argument: Argument): Argument => ({ kind: 'some', argument });
export const none: Argument = { kind: 'none' };
export const undefinedTensor: Argument = { kind: 'undefined' };
export const maybe = (value: Value | undefined): Argument => (value ? some(tensor(value)) : none);

/** A value and how it lies; row-major unless strides are given. */
interface NewValue {
  readonly value: Value;
  readonly shape: Shape;
  readonly strides: Shape | undefined;
}

/** What fills a result's slot: a tensor's type, or null for a number, which nobody wants. */
type ResultType = TorchDType | null;

export type Call =
  | {
      readonly kind: 'dispatch';
      /** Without its namespace, `aten::`. */
      readonly op: string;
      readonly overload: string;
      readonly args: readonly Argument[];
      readonly results: readonly (Value | null)[];
    }
  /**
   * An operation by its C function for a device (torch/csrc/inductor/aoti_torch/generated). The
   * dispatcher takes results for each other's types (torch/csrc/shim_common.cpp, to 2.14 at least), so
   * that it fails where tensors and numbers are mixed.
   */
  | {
      readonly kind: 'native';
      readonly device: TorchDeviceKind;
      readonly op: string;
      /** Tensors, numbers, optional floats. */
      readonly args: readonly Argument[];
      readonly results: readonly (Value | null)[];
    }
  /** a - alpha·b. The dispatcher cannot do it: its schema has a Scalar. */
  | {
      readonly kind: 'subtract';
      readonly a: Value;
      readonly b: Value;
      readonly alpha: number;
      readonly result: Value;
    }
  /** into + a·b for matrices, or batches of them, written over `into`. */
  | {
      readonly kind: 'accumulate';
      readonly into: Value;
      readonly a: Value;
      readonly b: Value;
      readonly batched: boolean;
      readonly result: Value;
    }
  /** Memory for a value that is yet to be written. */
  | {
      readonly kind: 'allocate';
      readonly shape: Shape;
      /** Row-major unless given. */
      readonly strides: Shape | undefined;
      readonly result: Value;
    }
  /** An operation whose result goes into `out`, which is all of `whole` or a view of it. */
  | {
      readonly kind: 'write';
      readonly op: string;
      readonly overload: string;
      /** Without the last one, which is `out`. */
      readonly args: readonly Argument[];
      readonly out: Value;
      readonly whole: Value;
      /** `whole` with what was written. */
      readonly result: Value;
    }
  /** Writes a value, in whatever type, to `out`, which is all of `whole` or a view of it. */
  | {
      readonly kind: 'place';
      readonly from: Value;
      readonly out: Value;
      readonly whole: Value;
      /** `whole` with what was written. */
      readonly result: Value;
    }
  /** A kernel of ours, whose results are new, or written over variables. */
  | {
      readonly kind: 'launch';
      readonly launch: Launch;
      readonly inputs: readonly Value[];
      readonly results: readonly NewValue[];
      /** Variables; the kernel's last tensors. */
      readonly over: readonly Value[];
    }
  /** Writes one value over another. */
  | { readonly kind: 'copy'; readonly from: Value; readonly to: Value }
  /** Another name of a value, which later calls are not merged with. */
  | { readonly kind: 'alias'; readonly of: Value; readonly result: Value };

/** The values that a call reads, once for each time, in the order of its arguments. */
export function readsOf(call: Call): readonly Value[] {
  switch (call.kind) {
    case 'subtract':
      return [call.a, call.b];
    case 'accumulate':
      return [call.into, call.a, call.b];
    case 'copy':
      return [call.from, call.to];
    case 'alias':
      return [call.of];
    case 'allocate':
      return [];
    case 'launch':
      return [...call.inputs, ...call.over];
    case 'write':
      return [...call.args.flatMap(tensorsIn), call.out, call.whole];
    case 'place':
      return [call.from, call.out, call.whole];
    case 'dispatch':
    case 'native':
      return call.args.flatMap(tensorsIn);
  }
}

/** The values that a call makes. */
export function resultsOf(call: Call): readonly Value[] {
  switch (call.kind) {
    case 'dispatch':
    case 'native':
      return call.results.filter((value) => value !== null);
    case 'launch':
      return call.results.map(({ value }) => value);
    case 'copy':
      return [];
    default:
      return [call.result];
  }
}

/** The values in an argument. */
export function tensorsIn(argument: Argument): readonly Value[] {
  if (argument.kind === 'tensor') return [argument.value];
  if (argument.kind === 'some') return tensorsIn(argument.argument);
  return argument.kind === 'list' ? argument.items.flatMap(tensorsIn) : [];
}

const changesVariables = (call: Call) =>
  call.kind === 'copy' || (call.kind === 'launch' && call.over.length > 0);

/** The calls without those whose results nobody reads; `wanted` are read after the last one. */
export function withoutUnused(calls: readonly Call[], wanted: readonly Value[]): Call[] {
  const read = new Set(wanted.map(({ id }) => id));
  const kept = calls.toReversed().filter((call) => {
    if (!changesVariables(call) && !resultsOf(call).some(({ id }) => read.has(id))) return false;
    for (const { id } of readsOf(call)) read.add(id);
    return true;
  });
  return kept.reverse();
}

/** A tensor of fixed values; one value fills the shape. */
export interface Constant {
  readonly value: Value;
  readonly shape: Shape;
  readonly values: readonly number[];
}

export interface EmitOptions {
  readonly overload?: string;
  /** Of the result. */
  readonly dtype: TorchDType;
}

export class TorchEmitter {
  readonly calls: Call[] = [];
  readonly constants: Constant[] = [];
  readonly #known = new Map<string, readonly (Value | null)[]>();
  #values = 0;

  /** Values so far. */
  get size(): number {
    return this.#values;
  }

  /** A value that no call makes. */
  leaf(dtype: TorchDType): Value {
    return { id: this.#values++, dtype };
  }

  /** An operation with one result. */
  emit(op: string, args: readonly Argument[], { overload = '', dtype }: EmitOptions): Value {
    return this.emitMany(op, args, [dtype], overload)[0]!;
  }

  /** An operation with several results. */
  emitMany(
    op: string,
    args: readonly Argument[],
    types: readonly ResultType[],
    overload = '',
  ): readonly (Value | null)[] {
    return this.#once(`${op}.${overload}${JSON.stringify(args)}`, () => {
      const results = this.#resultsOf(types);
      this.calls.push({ kind: 'dispatch', op, overload, args, results });
      return results;
    });
  }

  /** The same by the C function for a device. */
  emitNative(
    device: TorchDeviceKind,
    op: string,
    args: readonly Argument[],
    types: readonly ResultType[],
  ): readonly (Value | null)[] {
    return this.#once(`${device} ${op}${JSON.stringify(args)}`, () => {
      const results = this.#resultsOf(types);
      this.calls.push({ kind: 'native', device, op, args, results });
      return results;
    });
  }

  #resultsOf(types: readonly ResultType[]): readonly (Value | null)[] {
    return types.map((dtype) => (dtype === null ? null : this.leaf(dtype)));
  }

  /** a - alpha·b, of values of one type or of a scalar and any float. */
  subtract(a: Value, b: Value, alpha: number, dtype: TorchDType): Value {
    return this.#once(`subtract ${a.id} ${b.id} ${alpha}`, () => {
      const result = this.leaf(dtype);
      this.calls.push({ kind: 'subtract', a, b, alpha, result });
      return [result];
    })[0]!;
  }

  /**
   * into + a·b for matrices [m, n], or batches [.., m, n] of them, written over `into`, which must not
   * be read any more.
   */
  accumulate(into: Value, a: Value, b: Value, { batched = false } = {}): Value {
    const result = this.leaf(into.dtype);
    this.calls.push({ kind: 'accumulate', into, a, b, batched, result });
    return result;
  }

  /** Memory for a value of this shape, to be written by `write`. */
  allocate(shape: Shape, dtype: TorchDType, strides?: Shape): Value {
    const result = this.leaf(dtype);
    this.calls.push({ kind: 'allocate', shape, strides, result });
    return result;
  }

  /** The result of an operation in `out`, a view of `whole`, which must not be read any more. */
  write(op: string, overload: string, args: readonly Argument[], out: Value, whole = out): Value {
    const result = this.leaf(whole.dtype);
    this.calls.push({ kind: 'write', op, overload, args, out, whole, result });
    return result;
  }

  /** A value, in whatever type, copied to `out`, a view of `whole`, which must not be read any more. */
  place(from: Value, out: Value, whole: Value): Value {
    const result = this.leaf(whole.dtype);
    this.calls.push({ kind: 'place', from, out, whole, result });
    return result;
  }

  /** A launch of a kernel of ours. @returns its results */
  launch(
    launch: Launch,
    inputs: readonly Value[],
    results: readonly { readonly shape: Shape; readonly dtype: TorchDType; strides?: Shape }[],
  ): readonly Value[] {
    const made = results.map(({ shape, dtype, strides }) => ({
      value: this.leaf(dtype),
      shape,
      strides,
    }));
    this.calls.push({ kind: 'launch', launch, inputs, results: made, over: [] });
    return made.map(({ value }) => value);
  }

  /** The same, whose results are written over variables. */
  launchOver(launch: Launch, inputs: readonly Value[], over: readonly Value[]): void {
    this.calls.push({ kind: 'launch', launch, inputs, results: [], over });
  }

  copy(from: Value, to: Value): void {
    this.calls.push({ kind: 'copy', from, to });
  }

  alias(of: Value): Value {
    const result = this.leaf(of.dtype);
    this.calls.push({ kind: 'alias', of, result });
    return result;
  }

  /** Fixed values: one for all elements, or one for each. */
  constant(values: readonly number[], shape: Shape, dtype: TorchDType): Value {
    return this.#once(`constant ${dtype}[${shape}]${values}`, () => {
      const value = this.leaf(dtype);
      this.constants.push({ value, shape, values });
      return [value];
    })[0]!;
  }

  /** What was noted under this key before, or what `make` gives. */
  noted(key: string, make: () => readonly (Value | null)[]): readonly (Value | null)[] {
    return this.#once(`noted ${key}`, make);
  }

  #once(key: string, make: () => readonly (Value | null)[]): readonly (Value | null)[] {
    const known = this.#known.get(key);
    if (known) return known;
    const made = make();
    this.#known.set(key, made);
    return made;
  }
}
