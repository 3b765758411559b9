/**
 * @file Finds and loads TensorFlow.js, which is not among this package's dependencies: libtensorflow by
 * `tfjs-node-gpu` or `tfjs-node` where the user has installed one, else tfjs's own wasm or plain
 * JavaScript.
 */

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { UserError } from '../../tensor/user-error.ts';
import { guardWasmMemory, type WasmModule } from './wasm-memory.ts';
import { replaceWasmSlice } from './wasm-slice.ts';

export type Tfjs = typeof import('@tensorflow/tfjs-core');
/** A tensor of TensorFlow.js. */
export type TfTensor = import('@tensorflow/tfjs-core').Tensor;

/** Who computes. */
export type TfjsEngine = 'node-gpu' | 'node' | 'wasm' | 'cpu';

/** TensorFlow.js, loaded, with one of its back ends at work. */
export interface TfjsBackend {
  readonly tf: Tfjs;
  readonly engine: TfjsEngine;
  /** tfjs's own name of the back end. */
  readonly name: 'tensorflow' | 'wasm' | 'cpu';
  readonly version: string;
}

interface Package {
  readonly engine: TfjsEngine;
  readonly name: TfjsBackend['name'];
  readonly specifier: string;
  /** What npm has to install. */
  readonly install: string;
}

/** Fastest first. */
const packages: readonly Package[] = [
  {
    engine: 'node-gpu',
    name: 'tensorflow',
    specifier: '@tensorflow/tfjs-node-gpu',
    install: '@tensorflow/tfjs-node-gpu',
  },
  {
    engine: 'node',
    name: 'tensorflow',
    specifier: '@tensorflow/tfjs-node',
    install: '@tensorflow/tfjs-node',
  },
  {
    engine: 'wasm',
    name: 'wasm',
    specifier: '@tensorflow/tfjs-backend-wasm',
    install: '@tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm',
  },
  {
    engine: 'cpu',
    name: 'cpu',
    specifier: '@tensorflow/tfjs-backend-cpu',
    install: '@tensorflow/tfjs-core @tensorflow/tfjs-backend-cpu',
  },
];

const installCommand = (install: string) => `npm install ${install}`;

/** Beside this package, then in the folder that the program was started in. */
const places = [import.meta.url, join(process.cwd(), 'package.json')];

/** The file that a package starts with, or null where it is not installed. */
function entryOf(specifier: string): string | null {
  for (const place of places) {
    try {
      return createRequire(place).resolve(specifier);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return null;
}

/** The engines whose packages are installed, fastest first. */
export function installedEngines(): readonly TfjsEngine[] {
  return packages
    .filter(({ specifier }) => entryOf(specifier) !== null)
    .map(({ engine }) => engine);
}

/** `tfjs-node` is all of tfjs; a back end comes with the tfjs-core that it registers itself with. */
function load({ specifier, name }: Package, entry: string): Tfjs {
  try {
    const require = createRequire(entry);
    const loaded = require(entry) as Tfjs;
    return name === 'tensorflow' ? loaded : (require('@tensorflow/tfjs-core') as Tfjs);
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw new UserError(
      `${specifier} cannot be loaded (${reason}); install it again, or set device.tfjsBackend: wasm`,
    );
  }
}

/** tfjs's wasm ends the process at any error that nobody catches: that is for the program to do. */
async function withoutNewListeners(work: () => Promise<void>): Promise<void> {
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const before = events.map((event) => new Set(process.rawListeners(event)));
  await work();
  for (const [i, event] of events.entries()) {
    for (const listener of process.rawListeners(event)) {
      if (!before[i]!.has(listener)) process.off(event, listener as () => void);
    }
  }
}

async function start(chosen: Package, entry: string): Promise<TfjsBackend> {
  const tf = load(chosen, entry);
  // Else each tensor is looked through for NaN, and advice to use another back end is printed.
  tf.enableProdMode();
  await withoutNewListeners(async () => {
    if (!(await tf.setBackend(chosen.name))) {
      throw new UserError(`${chosen.specifier} cannot be used: its back end does not start`);
    }
  });
  if (chosen.name === 'wasm') {
    replaceWasmSlice(tf);
    guardWasmMemory((tf.engine().backend as unknown as { wasm: WasmModule }).wasm);
  }
  return { tf, engine: chosen.engine, name: chosen.name, version: tf.version_core };
}

let lastTurn: Promise<unknown> = Promise.resolve();

/** tfjs has one back end at work in the whole process, so that those who use it take turns. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const turn = lastTurn.then(work);
  lastTurn = turn.catch(() => undefined);
  return turn;
}

/** Does some work while this back end is the one that computes. */
export function computeWith<T>({ tf, name }: TfjsBackend, work: () => Promise<T>): Promise<T> {
  return inTurn(async () => {
    await tf.setBackend(name);
    return work();
  });
}

const started = new Map<TfjsEngine, Promise<TfjsBackend>>();

/**
 * Loads TensorFlow.js; `auto` is the fastest that is installed. A process has each engine once.
 * @throws UserError where it is not installed, or does not load
 */
export async function openTfjs(engine: TfjsEngine | 'auto' = 'auto'): Promise<TfjsBackend> {
  const wanted = packages.filter((one) => engine === 'auto' || one.engine === engine);
  for (const one of wanted) {
    const entry = entryOf(one.specifier);
    if (entry === null) continue;
    let backend = started.get(one.engine);
    if (!backend) {
      backend = inTurn(() => start(one, entry));
      started.set(one.engine, backend);
    }
    return backend;
  }
  const { install } = engine === 'auto' ? packages[2]! : wanted[0]!;
  throw new UserError(
    `TensorFlow.js${engine === 'auto' ? '' : ` (${engine})`} is not installed; install it with: ${installCommand(install)}`,
  );
}

const engineTexts: { readonly [E in TfjsEngine]: string } = {
  'node-gpu': 'libtensorflow (tfjs-node-gpu)',
  node: 'libtensorflow (tfjs-node)',
  wasm: 'wasm, one thread',
  cpu: 'plain JavaScript (very slow)',
};

/** A back end in words: `4.22.0, wasm, one thread`. */
export function backendText({ version, engine }: TfjsBackend): string {
  return `${version}, ${engineTexts[engine]}`;
}
