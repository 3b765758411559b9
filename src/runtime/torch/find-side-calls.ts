/**
 * @file Finds products that nothing waits for: gradients of LoRA factors, written to their places in a vector
 * that is read once all are there. They may run beside the calls that follow, where those neither read what
 * they write nor write over what they read.
 */

import { type Call, readsOf, type Value } from './torch-emitter.ts';

/** Calls by their index. */
export interface SideCalls {
  /** Those that may run beside what follows. */
  readonly aside: ReadonlySet<number>;
  /** Those before which all of them have to be over. */
  readonly joins: ReadonlySet<number>;
}

/** So many calls have to come before a product's first reader, to be worth another stream. */
const fewCalls = 16;

/** Operations that may show their first argument's memory. */
const views: ReadonlySet<string> = new Set([
  ...['narrow', 'reshape', 'permute', 'transpose', 'expand', 'contiguous'],
]);
const products: ReadonlySet<string> = new Set(['mm', 'bmm', 'matmul']);

/** A value and the one that may show its memory; undefined where a call makes new memory. */
function shown(call: Call): { readonly of: Value; readonly result: Value } | undefined {
  if (call.kind === 'dispatch') {
    const [[of], [result]] = [readsOf(call), call.results];
    return views.has(call.op) && of && result ? { of, result } : undefined;
  }
  if (call.kind === 'alias') return call;
  if (call.kind === 'write' || call.kind === 'place')
    return { of: call.whole, result: call.result };
  return call.kind === 'accumulate' ? { of: call.into, result: call.result } : undefined;
}

/** The values that a call writes over. */
function writtenOver(call: Call): readonly Value[] {
  if (call.kind === 'write' || call.kind === 'place') return [call.whole];
  if (call.kind === 'accumulate') return [call.into];
  if (call.kind === 'launch') return call.over;
  return call.kind === 'copy' ? [call.to] : [];
}

/** What a call reads for its values, not to write there. */
function contentsOf(call: Call): readonly Value[] {
  // Behind its arguments are `out` and `whole`.
  const writes = call.kind === 'write' || call.kind === 'place';
  return writes ? readsOf(call).slice(0, -2) : readsOf(call);
}

/** Values whose elements matter to somebody: others only say where something is written. */
function valuesRead(calls: readonly Call[]): ReadonlySet<number> {
  const read = new Set<number>();
  for (const call of calls.toReversed()) {
    const view = writtenOver(call).length > 0 ? undefined : shown(call);
    if (view && !read.has(view.result.id)) continue;
    for (const { id } of contentsOf(call)) read.add(id);
  }
  return read;
}

/** Calls and the memory that they touch, by the value that it was made for. */
interface Touches {
  readonly reads: readonly (readonly number[])[];
  readonly writes: readonly (readonly number[])[];
}

function touchesOf(calls: readonly Call[]): Touches {
  const read = valuesRead(calls);
  const memory = new Map<number, number>();
  const memoryOf = ({ id }: Value) => memory.get(id) ?? id;
  const reads: number[][] = [];
  const writes: number[][] = [];
  for (const call of calls) {
    const contents = contentsOf(call).filter(({ id }) => read.has(id));
    reads.push(contents.map(memoryOf));
    writes.push(writtenOver(call).map(memoryOf));
    const view = shown(call);
    if (view) memory.set(view.result.id, memoryOf(view.of));
  }
  return { reads, writes };
}

/** Products whose memory nobody reads for a while. */
function patientProducts(calls: readonly Call[], { reads, writes }: Touches): ReadonlySet<number> {
  const aside = new Set<number>();
  const nextReader = new Map<number, number>();
  for (let i = calls.length - 1; i >= 0; i--) {
    const call = calls[i]!;
    const [written] = writes[i]!;
    if (call.kind === 'write' && products.has(call.op) && written !== undefined) {
      if ((nextReader.get(written) ?? calls.length) - i > fewCalls) aside.add(i);
    }
    for (const memory of reads[i]!) nextReader.set(memory, i);
  }
  return aside;
}

export function findSideCalls(calls: readonly Call[]): SideCalls {
  const touches = touchesOf(calls);
  const { reads, writes } = touches;
  const aside = patientProducts(calls, touches);
  const joins = new Set<number>();
  /** Memory that those under way read and write. */
  const [read, written] = [new Set<number>(), new Set<number>()];
  for (const [i, call] of calls.entries()) {
    const over = writes[i]!;
    if (aside.has(i)) {
      for (const memory of reads[i]!) read.add(memory);
      for (const memory of over) written.add(memory);
      continue;
    }
    // Other parts of what they write may be written meanwhile.
    const isPart = call.kind === 'write' || call.kind === 'place';
    const spoils = over.some((memory) => read.has(memory) || (written.has(memory) && !isPart));
    if (!spoils && !reads[i]!.some((memory) => written.has(memory))) continue;
    joins.add(i);
    read.clear();
    written.clear();
  }
  return { aside, joins };
}
