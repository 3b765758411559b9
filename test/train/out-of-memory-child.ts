/**
 * @file One training step in too little memory, in a process of its own: it takes the memory away from
 * itself. Arguments: the executor's name, bytes that one pass through the network may take, and items that
 * should go through at once in the end. Prints what came of it as JSON.
 */

import { readFileSync } from 'node:fs';
import koffi from 'koffi';
import type { Executor } from '../../src/runtime/executor.ts';
import { createOnnxExecutor } from '../../src/runtime/onnx/onnx-executor.ts';
import { createTorchExecutor } from '../../src/runtime/torch/torch-executor.ts';
import type { TrainerOptions } from '../../src/train/lora-trainer.ts';
import type { SmallerParts } from '../../src/train/smaller-parts.ts';
import { batch, makeTrainer } from './tiny-trainer.ts';
import { randomTensor, tinyParameters } from './tiny-training.ts';

/** What is printed. */
export interface ShortOfMemory {
  readonly found: readonly SmallerParts[];
  /** Bytes that were allocated still after each recovery. */
  readonly left: readonly number[];
  /** Whether the step is that of a run that had the smaller parts from the start. */
  readonly isSame: boolean;
  readonly refusal: string | null;
}

const [name, room, microBatch] = process.argv.slice(2) as [string, string, string];
const side = 128;
const rates = { unet: 0.01, text_encoder: 0 };

const executors: Readonly<Record<string, () => Executor>> = {
  torch: () => createTorchExecutor({ parameters: tinyParameters, device: 'cpu', threads: 1 }),
  onnx: () => createOnnxExecutor({ parameters: tinyParameters, threads: 1 }),
};

const libc = koffi.load('libc.so.6');
const setrlimit = libc.func('int setrlimit(int, uint64_t*)');
/** Linux's number of the limit of the address space. */
const addressSpace = 9;
const noLimit = 2n ** 64n - 1n;

function limitMemory(bytes: bigint): void {
  if (setrlimit(addressSpace, new BigUint64Array([bytes, noLimit])) !== 0) {
    throw new Error('the limit of the memory cannot be set');
  }
}

/** Bytes of the address space that the process has. */
const reserved = () => 4096 * Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[0]);

const counts = ['arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks'] as const;
const more = ['uordblks', 'fordblks', 'keepcost'] as const;
const types = Object.fromEntries([...counts, ...more].map((count) => [count, 'size_t'] as const));
koffi.struct('mallinfo2', types);
const allocatorState = libc.func('mallinfo2 mallinfo2()');

/** Bytes that someone has allocated; what the allocator keeps for the next one is not among them. */
function allocated(): number {
  const { hblkhd, uordblks } = allocatorState() as Record<'hblkhd' | 'uordblks', number>;
  return hblkhd + uordblks;
}

function trainer(changes: Partial<TrainerOptions>) {
  const latents = ({ sample }: { readonly sample: number }) =>
    randomTensor([8, side / 8, side / 8], sample);
  const samples = Array.from({ length: 4 }, () => ({ caption: 'a dog', triggerWord: null }));
  const groups = { unet: true, textEncoder: false };
  return makeTrainer(groups, { momentsOf: latents, samples, ...changes });
}

async function step({ trainer: made, read }: ReturnType<typeof trainer>) {
  const planned = { ...batch(0, 1, 2, 3), bucket: { width: side, height: side } };
  const outcome = await made.step([planned], 0, rates);
  return { outcome, factors: read('lora.unet') };
}

// What is expected comes first, so that the engine has started its threads and made its kernels.
const fresh = trainer({ executor: executors[name]!(), microBatch: Number(microBatch) });
const expected = await step(fresh);
await fresh.executor.dispose();

const executor = executors[name]!();
const found: SmallerParts[] = [];
const left: number[] = [];
let before = 0;
const tight = trainer({
  executor,
  // Asked for right before a pass; Node itself, which builds the graphs, is not to run short.
  momentsOf: ({ sample }) => {
    const moments = randomTensor([8, side / 8, side / 8], sample);
    limitMemory(noLimit);
    before = allocated();
    limitMemory(BigInt(reserved() + Number(room)));
    return moments;
  },
  onSmallerParts: (parts) => {
    limitMemory(noLimit);
    left.push(allocated() - before);
    found.push(parts);
  },
});
const taken = await step(tight).catch((error: Error) => error.message);
limitMemory(noLimit);
const isSame = JSON.stringify(taken) === JSON.stringify(expected);
const refusal = typeof taken === 'string' ? taken : null;
await executor.dispose();
const outcome: ShortOfMemory = { found, left, isSame, refusal };
process.stdout.write(JSON.stringify(outcome));
