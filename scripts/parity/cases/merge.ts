/** @file A LoRA merged into the checkpoint: some tensors whole, of all the others their sums. */

import { join } from 'node:path';
import type { LoraModule } from '../../../src/lora/lora-modules.ts';
import { mergeLora } from '../../../src/lora/merge.ts';
import { f32, type Tensor } from '../../../src/tensor/tensor.ts';
import { readJson } from '../golden-file.ts';
import { layoutsOf, readModules } from '../lora-network.ts';
import type { CaseContext, ParityCase } from '../parity-case.ts';
import { tolerances, vector } from '../report.ts';

interface Statistics {
  readonly shape: readonly number[];
  readonly sum: number;
  readonly sumsq: number;
  readonly delta_sumsq: number;
  readonly first: readonly [number, number];
}

interface MergeFile {
  readonly ratio: number;
  readonly lora?: Readonly<Record<string, Statistics>>;
  readonly locon?: Readonly<Record<string, Statistics>>;
}

interface Merged {
  readonly before: Float32Array;
  readonly after: Tensor<'f32'>;
}

/** Merges every module; by checkpoint key. q, k and v of OpenCLIP are thirds of one tensor. */
function mergeAll({ family }: CaseContext, modules: readonly LoraModule[], ratio: number) {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const { checkpoint } = family;
  const merged = new Map<string, Merged>();
  for (const { slots } of layoutsOf(family, modules)) {
    for (const { module } of slots) {
      const factors = byName.get(module.name);
      if (!factors) continue;
      const { file, key, third = 0 } = checkpoint.places.get(`${module.path}.weight`)!;
      let whole = merged.get(key);
      if (!whole) {
        const before = file.readF32Sync(key);
        whole = { before, after: f32(file.entries.get(key)!.shape, before.slice()) };
        merged.set(key, whole);
      }
      const part = checkpoint.read(`${module.path}.weight`);
      whole.after.data.set(mergeLora(part, factors, ratio), third * part.length);
    }
  }
  return merged;
}

/**
 * The statistics, each divided by what its golden value is measured against: the sum by √n·‖W‖, the
 * others by themselves.
 */
function normalized({ before, after }: Merged, golden: Statistics) {
  let [sum, squares, change] = [0, 0, 0];
  for (const [i, value] of after.data.entries()) {
    sum += value;
    squares += value ** 2;
    change += (value - before[i]!) ** 2;
  }
  const size = Math.sqrt(after.data.length * golden.sumsq);
  const largest = Math.max(...golden.first.map(Math.abs));
  return {
    ours: [
      sum / size,
      squares / golden.sumsq,
      change / golden.delta_sumsq,
      after.data[0]! / largest,
      after.data[1]! / largest,
    ],
    theirs: [golden.sum / size, 1, 1, golden.first[0] / largest, golden.first[1] / largest],
  };
}

export const mergeCase: ParityCase = {
  name: 'merge',
  marker: 'merge.safetensors',
  files: ['merge.safetensors', 'merge.json', 'lora_init.safetensors'],
  host: true,
  async run(context) {
    const { family, report, golden } = context;
    const file = await golden('merge.safetensors');
    const statistics = await readJson<MergeFile>(join(family.folder, 'merge.json'));
    for (const kind of ['lora', 'locon'] as const) {
      const expected = statistics[kind];
      if (!expected) continue;
      const modules = readModules(await golden(`${kind}_init.safetensors`));
      const merged = mergeAll(context, modules, statistics.ratio);
      report.check(
        `${kind}: merged keys (${merged.size})`,
        `${[...merged.keys()].sort()}` === `${Object.keys(expected).sort()}`,
        `golden has ${Object.keys(expected).length} keys`,
      );
      for (const [key, one] of merged) {
        const name = `${kind}.${key}`;
        if (file.has(name)) {
          report.compare(name, one.after, file.f32(name), { relative: tolerances.output });
        }
        const known = expected[key];
        if (!known) continue;
        if (`${known.shape}` !== `${one.after.shape}`) {
          report.fail(name, `shape [${one.after.shape}], expected [${known.shape}]`);
          continue;
        }
        const { ours, theirs } = normalized(one, known);
        report.compare(`${name} (sums)`, vector(ours), vector(theirs), {
          absolute: tolerances.output,
        });
      }
    }
  },
};
