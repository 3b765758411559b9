/** @file `npm run parity -- DIR`: holds our numbers to PyTorch's, tensor by tensor. */

import { writeSync } from 'node:fs';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { UserError } from '../../src/tensor/user-error.ts';
import { caseNames, executorNames, type ParityResult, runParity } from './run-parity.ts';

const print = (line: string) => {
  process.stdout.write(`${line}\n`);
};

function summarize({ passed, failures, unsupported }: ParityResult): void {
  print('');
  for (const name of failures) print(`FAIL ${name}`);
  print(
    `${passed} ok, ${failures.length} failed` +
      (unsupported.length > 0 ? `, not supported yet: ${unsupported.join(', ')}` : ''),
  );
}

const parser = yargs(hideBin(process.argv))
  // So that DIR may come after the options.
  .parserConfiguration({ 'greedy-arrays': false })
  .scriptName('npm run parity --')
  .usage(
    '$0 DIR',
    'Compare with the golden numbers in DIR: a set folder, or one family in it.',
    (y) => y.positional('DIR', { type: 'string', demandOption: true }),
  )
  .option('executor', {
    choices: executorNames,
    array: true,
    describe: 'Run on this one only. Default: all, the slowest cases on onnx alone.',
  })
  .option('case', {
    choices: caseNames,
    array: true,
    describe: 'Run these cases only.',
  })
  .option('verbose', {
    type: 'boolean',
    default: false,
    describe: 'Show where each error is largest, with both values.',
  })
  .strict();

const { DIR, executor, case: cases, verbose } = await parser.parseAsync();
try {
  const result = await runParity({
    folder: DIR as string,
    ...(executor ? { executors: executor } : {}),
    ...(cases ? { cases } : {}),
    verbose,
    print,
  });
  summarize(result);
  process.exitCode = result.failures.length > 0 ? 1 : 0;
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  writeSync(2, `${error.message}\n`);
  process.exitCode = 1;
}
