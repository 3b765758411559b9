/**
 * @file Every operation and all its gradients on an executor, against the reference in f64: the cases of
 * the tests, for machines that have no test runner.
 *
 *     node build/bench/check-ops.js --executor torch --device cuda
 */

import { parseArgs } from 'node:util';
import { createReferenceExecutor } from '../src/runtime/reference/reference-executor.ts';
import { caseGraph } from '../test/helpers/op-case-graph.ts';
import { type OpCase, opCases } from '../test/helpers/op-cases.ts';
import { benchExecutor } from './bench-executor.ts';

const { values: options } = parseArgs({
  options: {
    executor: { type: 'string', default: 'torch' },
    device: { type: 'string', default: 'auto' },
    precision: { type: 'string', default: 'f32' },
    /** Largest error, relative to the tensor's maximum; of f32, on GPUs too, without TF32. */
    tolerance: { type: 'string', default: '1e-5' },
    threads: { type: 'string', default: '1' },
  },
});

const noParameters = {
  read: (name: string): Float32Array => {
    throw new Error(`internal: no parameter ${name}`);
  },
};
const exact = createReferenceExecutor({ parameters: noParameters, precision: 'f64' });
const executor = await benchExecutor(noParameters, {
  executor: options.executor,
  device: options.device,
  precision: options.precision,
  threads: Number(options.threads),
});

const largest = (values: Iterable<number>) => {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
};

/** The largest error of a case's outputs, each relative to its own maximum. */
async function errorOf(opCase: OpCase): Promise<number> {
  const { graph, values } = caseGraph(opCase);
  const wanted = await (await exact.compile(graph)).run(values);
  const executable = await executor.compile(graph);
  const found = await executable.run(values);
  await executable.dispose();
  let worst = 0;
  for (const [name, { data }] of Object.entries(wanted)) {
    if (name === 'loss') continue;
    const actual = found[name]!.data;
    const numbers = data as Float64Array;
    const differences = numbers.map((x, i) => x - Number(actual[i]));
    const error = largest(differences) / Math.max(largest(numbers), 1e-30);
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
    if (actual.length !== data.length) worst = Number.POSITIVE_INFINITY;
  }
  return worst;
}

let failed = 0;
let worst = 0;
for (const opCase of opCases) {
  const name = `${opCase.op}: ${opCase.name}`;
  try {
    const error = await errorOf(opCase);
    worst = Math.max(worst, error);
    if (error <= Number(options.tolerance)) continue;
    process.stdout.write(`FAIL ${name}: error ${error.toExponential(2)}\n`);
  } catch (error) {
    process.stdout.write(`FAIL ${name}: ${(error as Error).message.split('\n')[0]}\n`);
  }
  failed++;
}
process.stdout.write(
  `${opCases.length} cases on ${executor.name} ${options.device}, ${failed} failed; largest error ${worst.toExponential(2)}\n`,
);
await executor.dispose();
process.exitCode = failed > 0 ? 1 : 0;
