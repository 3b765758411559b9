/**
 * @file The calls of a graph, encoded once: registers hold tensor handles, a stack takes the arguments
 * of one call, and a tensor is given to the last call that reads it, which frees it.
 */

import type { Shape } from '../../tensor/shape.ts';
import { slotsOf } from './call-slots.ts';
import type { KernelLauncher } from './kernels/kernel.ts';
import { KernelParameters } from './kernels/kernel-parameters.ts';
import { doubleBits, nativeArgument } from './native-argument.ts';
import type { Beside } from './side-run.ts';
import { type Argument, type Call, readsOf, tensor, type Value } from './torch-emitter.ts';
import { check, type ProductSums, type TorchDType, type TorchLibrary } from './torch-library.ts';

/** Bytes of a cell: a register or an argument. */
const cellBytes = 8;

/** Longest time for which the event loop stands still, in milliseconds. */
const patience = 40;
/** Calls between two looks at the clock. */
const callsAtOnce = 16;

export interface PlanOptions {
  readonly calls: readonly Call[];
  /** Number of values. */
  readonly size: number;
  /** Values that are there before a run, and stay. */
  readonly fixed: readonly number[];
  /** Values that are read after a run. */
  readonly results: readonly number[];
  /** What adds products in place, where calls do so. */
  readonly productSums?: ProductSums | undefined;
  /** What runs kernels of ours, where calls launch them. */
  readonly launcher?: KernelLauncher | undefined;
  /** Makes a tensor that is not filled, row-major unless strides are given. */
  readonly allocate: (shape: Shape, dtype: TorchDType, strides?: Shape) => number;
}

/** Does one part of a run. */
type Action = () => void;

/** The 8 bytes of a whole number in two's complement. */
const wholeBits = (value: number) => BigInt.asUintN(64, BigInt(value));

export class Plan {
  readonly #library: TorchLibrary;
  readonly #address: number;
  readonly #cells: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #size: number;
  readonly #kept: ReadonlySet<number>;
  readonly #results: ReadonlySet<number>;
  readonly #actions: Action[];
  readonly #productSums: ProductSums | undefined;
  readonly #launcher: KernelLauncher | undefined;
  readonly #allocate: PlanOptions['allocate'];
  readonly #parameters: KernelParameters[] = [];

  constructor(library: TorchLibrary, options: PlanOptions) {
    const { calls, size, fixed, results, productSums, launcher, allocate } = options;
    this.#library = library;
    this.#launcher = launcher;
    this.#allocate = allocate;
    this.#productSums = productSums;
    this.#size = size;
    this.#kept = new Set([...fixed, ...results]);
    this.#results = new Set(results);
    const slots = calls.map(slotsOf);
    // Registers, the stack, and one cell for the address of a list.
    const cells = size + Math.max(...slots, 1) + 1;
    this.#address = library.allocateCells(cells);
    this.#cells = new BigUint64Array(library.view(this.#address, cells * cellBytes));
    this.#cells.fill(0n);
    this.#words = new Uint32Array(this.#cells.buffer);
    const last = new Map<number, number>();
    for (const [i, call] of calls.entries()) for (const { id } of readsOf(call)) last.set(id, i);
    this.#actions = calls.map((call, i) => this.#encode(call, i, last));
  }

  /** The handle in a register; 0 where there is none. */
  get(id: number): number {
    return this.#words[2 * id]! + this.#words[2 * id + 1]! * 2 ** 32;
  }

  /** Puts a handle in a register. The caller owns it; kept values stay, others go with their last use. */
  set(id: number, handle: number): void {
    this.#cells[id] = BigInt(handle);
  }

  #addressOf(cell: number): number {
    return this.#address + cell * cellBytes;
  }

  /** Takes a handle out of its register. */
  #take(id: number): number {
    const handle = this.get(id);
    this.#cells[id] = 0n;
    return handle;
  }

  /** All calls at once; those that may run beside others on a second stream, if one is given. */
  runAtOnce(beside?: Beside): void {
    if (beside) beside.calls.run(this.#actions, beside.stream, (id) => this.get(id));
    else for (const action of this.#actions) action();
  }

  /** All calls, letting the event loop turn now and then. */
  async run(): Promise<void> {
    const actions = this.#actions;
    let since = performance.now();
    for (let i = 0; i < actions.length; i++) {
      actions[i]!();
      if (i % callsAtOnce === 0 && performance.now() - since > patience) {
        await new Promise((resolve) => setImmediate(resolve));
        since = performance.now();
      }
    }
  }

  /** Frees what a run that failed left behind. */
  clear(): void {
    for (let id = 0; id < this.#size; id++) if (!this.#kept.has(id)) this.#free(id);
  }

  /** Frees the results. */
  clearResults(): void {
    for (const id of this.#results) this.#free(id);
  }

  dispose(): void {
    for (const each of this.#parameters.splice(0)) each.dispose();
    this.#library.freeCells(this.#address);
  }

  #free(id: number): void {
    const handle = this.#take(id);
    if (handle !== 0) this.#library.deleteTensor(handle);
  }

  #encode(call: Call, index: number, last: ReadonlyMap<number, number>): Action {
    const ends = (id: number) => last.get(id) === index && !this.#kept.has(id);
    switch (call.kind) {
      case 'dispatch':
        return this.#encodeDispatch(call, ends, last);
      case 'native':
        return this.#encodeNative(call, ends, last);
      case 'subtract': {
        const library = this.#library;
        const { a, b, alpha, result } = call;
        const out = this.#addressOf(result.id);
        const dying = [...new Set([a.id, b.id])].filter(ends);
        return () => {
          const status = library.subtract(this.get(a.id), this.get(b.id), alpha, out);
          check(library, status, 'aten::subtract');
          for (const id of dying) this.#free(id);
        };
      }
      case 'allocate': {
        const { shape, strides, result } = call;
        return () => this.set(result.id, this.#allocate(shape, result.dtype, strides));
      }
      case 'write':
        return this.#encodeWrite(call, ends, last);
      case 'accumulate':
        return this.#encodeAccumulate(call, ends);
      case 'launch':
        return this.#encodeLaunch(call, ends, last);
      case 'copy':
        return this.#encodeCopy(call, ends);
      case 'place':
        return this.#encodePlace(call, ends);
      case 'alias':
        return this.#placeTensor(call.of.id, this.#addressOf(call.result.id), ends);
    }
  }

  /** The register of the sum takes over the handle of the value that it is written over. */
  #encodeAccumulate(
    { into, a, b, batched, result }: Call & { kind: 'accumulate' },
    ends: (id: number) => boolean,
  ): Action {
    const library = this.#library;
    const sum = this.#productSums?.[batched ? 'batches' : 'matrices'];
    if (!sum) throw new Error('internal: no function adds products in place');
    if (!ends(into.id))
      throw new Error(`internal: value ${into.id} is read after it is written over`);
    const dying = [...new Set([a.id, b.id])].filter(ends);
    return () => {
      const target = this.get(into.id);
      check(
        library,
        sum(target, target, this.get(a.id), this.get(b.id), 1, 1),
        'a sum of products',
      );
      this.#cells[result.id] = this.#cells[into.id]!;
      this.#cells[into.id] = 0n;
      for (const id of dying) this.#free(id);
    };
  }

  /** The operation gives back a handle of `out`; the register of the result takes over that of `whole`. */
  #encodeWrite(
    { op, overload, args, out, whole, result }: Call & { kind: 'write' },
    ends: (id: number) => boolean,
    last: ReadonlyMap<number, number>,
  ): Action {
    if (!ends(whole.id))
      throw new Error(`internal: value ${whole.id} is read after it is written to`);
    const results = [{ id: -1, dtype: out.dtype }];
    const write = this.#encodeDispatch(
      { kind: 'dispatch', op, overload, args: [...args, tensor(out)], results },
      (id) => id !== whole.id && ends(id),
      last,
    );
    return () => {
      write();
      this.#cells[result.id] = this.#cells[whole.id]!;
      this.#cells[whole.id] = 0n;
    };
  }

  #encodeLaunch(
    { launch, inputs, results, over }: Call & { kind: 'launch' },
    ends: (id: number) => boolean,
    last: ReadonlyMap<number, number>,
  ): Action {
    if (!this.#launcher) throw new Error(`internal: nothing launches ${launch.kernel.entry}`);
    const ids = [...inputs, ...results.map(({ value }) => value), ...over].map(({ id }) => id);
    const parameters = new KernelParameters(this.#library, launch, ids.length);
    this.#parameters.push(parameters);
    const begin = this.#launcher.prepare(launch, parameters.address);
    const isUnread = (id: number) => ends(id) || !(last.has(id) || this.#kept.has(id));
    const dying = [...new Set(ids)].filter(isUnread);
    return () => {
      for (const { value, shape, strides } of results) {
        this.set(value.id, this.#allocate(shape, value.dtype, strides));
      }
      for (let i = 0; i < ids.length; i++) parameters.set(i, this.get(ids[i]!));
      begin();
      for (const id of dying) this.#free(id);
    };
  }

  #encodeCopy({ from, to }: Call & { kind: 'copy' }, ends: (id: number) => boolean): Action {
    const library = this.#library;
    const base = this.#size;
    const stack = this.#addressOf(base);
    const places = [
      this.#placeTensor(to.id, stack, ends),
      this.#placeTensor(from.id, this.#addressOf(base + 1), ends),
    ];
    const copy = library.operation('aten::copy_', '');
    return () => {
      for (const place of places) place();
      // Nobody waits for it.
      this.#cells[base + 2] = 1n;
      check(library, copy(stack), 'aten::copy_');
      this.#free(base);
    };
  }

  /** As a copy; the register of the result takes over that of `whole`. */
  #encodePlace(
    { from, out, whole, result }: Call & { kind: 'place' },
    ends: (id: number) => boolean,
  ): Action {
    if (!ends(whole.id))
      throw new Error(`internal: value ${whole.id} is read after it is written to`);
    const copy = this.#encodeCopy(
      { kind: 'copy', from, to: out },
      (id) => id !== whole.id && ends(id),
    );
    return () => {
      copy();
      this.#cells[result.id] = this.#cells[whole.id]!;
      this.#cells[whole.id] = 0n;
    };
  }

  #encodeDispatch(
    call: Call & { kind: 'dispatch' },
    ends: (id: number) => boolean,
    last: ReadonlyMap<number, number>,
  ): Action {
    const library = this.#library;
    const op = `aten::${call.op}`;
    const { overload } = call;
    const base = this.#size;
    const stack = this.#addressOf(base);
    const fixed = new BigUint64Array(call.args.length);
    // Of several places that take a dying tensor, only the last one may have the register's handle.
    const uses = readsOf(call);
    let use = 0;
    const isLastUse = (id: number) => ends(id) && !uses.slice(use).some((value) => value.id === id);
    const places: Action[] = [];
    for (const [i, argument] of call.args.entries()) {
      if (argument.kind === 'whole') fixed[i] = wholeBits(argument.number);
      else if (argument.kind === 'float') fixed[i] = doubleBits(argument.number);
      else if (argument.kind !== 'none') {
        places.push(
          this.#place(argument, this.#addressOf(base + i), (id) => {
            use++;
            return isLastUse(id);
          }),
        );
      }
    }
    const keep = this.#keepResults(call.results, last);
    const dispatch = library.operation(op, overload);
    return () => {
      this.#cells.set(fixed, base);
      for (const place of places) place();
      check(library, dispatch(stack), op);
      keep();
    };
  }

  /** Moves the results, which lie on the stack, to their registers; frees those that nobody reads. */
  #keepResults(made: readonly (Value | null)[], last: ReadonlyMap<number, number>): Action {
    const base = this.#size;
    const results = made.map((value) =>
      value && (last.has(value.id) || this.#kept.has(value.id)) ? value.id : undefined,
    );
    const isTensor = made.map((value) => value !== null);
    return () => {
      for (let i = 0; i < results.length; i++) {
        const id = results[i];
        if (id !== undefined) this.#cells[id] = this.#cells[base + i]!;
        else if (isTensor[i]) this.#free(base + i);
      }
    };
  }

  /** Handles are borrowed; results are written to the stack, behind which optional numbers lie. */
  #encodeNative(
    call: Call & { kind: 'native' },
    ends: (id: number) => boolean,
    last: ReadonlyMap<number, number>,
  ): Action {
    const library = this.#library;
    const base = this.#size;
    const name = `aoti_torch_${call.device}_${call.op}`;
    const optional = new Map<number, bigint>();
    const missing: number[] = [];
    const types: string[] = [];
    const values = call.args.map((argument, i): (() => number) => {
      const native = nativeArgument(argument);
      types.push(native.type);
      if (native.kind === 'value') return () => native.number;
      if (native.kind === 'tensor') return () => this.get(native.id);
      const cell = base + call.results.length + i;
      if (native.kind === 'undefined') {
        missing.push(cell);
        return () => this.get(cell);
      }
      optional.set(cell, native.bits);
      return () => this.#addressOf(cell);
    });
    const outs = call.results.map((_, i) => this.#addressOf(base + i));
    types.push(...outs.map(() => 'uint64_t'));
    const run = library.find(`int ${name}(${types.join(', ')})`);
    if (!run) throw new Error(`internal: libtorch has no ${name}`);
    const dying = [...new Set(readsOf(call).map(({ id }) => id))].filter(ends);
    const keep = this.#keepResults(call.results, last);
    return () => {
      for (const [cell, bits] of optional) this.#cells[cell] = bits;
      for (const cell of missing) {
        check(library, library.undefinedTensor(this.#addressOf(cell)), 'an undefined tensor');
      }
      try {
        const status = run(...values.map((value) => value()), ...outs) as number;
        check(library, status, `aten::${call.op}`);
      } finally {
        for (const cell of missing) this.#free(cell);
      }
      for (const id of dying) this.#free(id);
      keep();
    };
  }

  /** Writes an argument to a cell. `ends` is asked once for each tensor, in order. */
  #place(argument: Argument, at: number, ends: (id: number) => boolean): Action {
    const library = this.#library;
    switch (argument.kind) {
      case 'tensor':
        return this.#placeTensor(argument.value.id, at, ends);
      case 'undefined':
        return () => check(library, library.undefinedTensor(at), 'an undefined tensor');
      case 'text':
        return () =>
          check(library, library.newText(argument.text, argument.text.length, at), 'a text');
      case 'some':
        return this.#placeOptional(argument.argument, at, ends);
      case 'list':
        return this.#placeList(argument.items, at, ends);
      case 'whole':
      case 'float':
      case 'none':
        throw new Error(`internal: a ${argument.kind} argument inside of another`);
    }
  }

  /** A handle for the call to take: a second one, or the register's own where nobody reads it again. */
  #placeTensor(id: number, at: number, ends: (id: number) => boolean): Action {
    const library = this.#library;
    if (!ends(id)) {
      return () => check(library, library.newHandle(this.get(id), at), 'a handle');
    }
    const cell = (at - this.#address) / cellBytes;
    // A cell of a list or an optional is not in our block.
    if (!(cell >= 0 && cell < this.#cells.length)) {
      return () => {
        check(library, library.newHandle(this.get(id), at), 'a handle');
        this.#free(id);
      };
    }
    return () => {
      this.#cells[cell] = this.#cells[id]!;
      this.#cells[id] = 0n;
    };
  }

  /** The value goes to a cell that the call frees; its address to `at`. */
  #placeOptional(argument: Argument, at: number, ends: (id: number) => boolean): Action {
    const library = this.#library;
    const cell = (at - this.#address) / cellBytes;
    if (argument.kind === 'tensor') {
      const { id } = argument.value;
      const dies = ends(id);
      return () => {
        check(library, library.newCell(at), 'an optional');
        check(library, library.newHandle(this.get(id), this.get(cell)), 'a handle');
        if (dies) this.#free(id);
      };
    }
    if (argument.kind === 'float') {
      const bits = doubleBits(argument.number);
      return () => {
        check(library, library.newCell(at), 'an optional');
        library.writeCell(this.get(cell), bits);
      };
    }
    if (argument.kind === 'list') {
      const spare = this.#cells.length - 1;
      const list = this.#placeList(argument.items, this.#addressOf(spare), ends);
      return () => {
        check(library, library.newCell(at), 'an optional');
        list();
        library.writeCell(this.get(cell), this.#cells[spare]!);
        this.#cells[spare] = 0n;
      };
    }
    throw new Error(`internal: an optional ${argument.kind}`);
  }

  #placeList(items: readonly Argument[], at: number, ends: (id: number) => boolean): Action {
    const library = this.#library;
    const cell = (at - this.#address) / cellBytes;
    const length = items.length;
    if (items.every((item) => item.kind === 'whole')) {
      const numbers = items.map(wholeOf);
      return () => {
        check(library, library.newList(length, at), 'a list');
        const list = this.get(cell);
        for (const number of numbers) library.pushBack(list, number);
      };
    }
    const spare = this.#cells.length - 1;
    const spareAddress = this.#addressOf(spare);
    const tensors = items.map((item) => {
      if (item.kind !== 'tensor') throw new Error(`internal: a list of ${item.kind}`);
      const { id } = item.value;
      return this.#placeTensor(id, spareAddress, ends);
    });
    return () => {
      check(library, library.newList(length, at), 'a list');
      const list = this.get(cell);
      for (const place of tensors) {
        place();
        check(library, library.pushBack(list, this.#take(spare)), 'a list');
      }
    };
  }
}

function wholeOf(argument: Argument): number {
  if (argument.kind !== 'whole')
    throw new Error(`internal: a ${argument.kind} in a list of numbers`);
  return argument.number;
}
