/** @file Looks at the machine and its libraries, and prints what was found. */

import { resolve } from 'node:path';
import type { UnsizedConfig } from '../../config/resolve-config.ts';
import { executorText } from '../create-executor.ts';
import { formatTable } from '../format-table.ts';
import { plural } from '../format-units.ts';
import { loadRunConfig } from '../load-run-config.ts';
import type { Terminal } from '../terminal.ts';
import { onnxFindings, sharpFinding, tokenizerFinding } from './engine.ts';
import { type Finding, reasonOf, type Verdict } from './finding.ts';
import { diskFinding, machineFindings } from './machine.ts';
import { tfjsFindings } from './tfjs.ts';
import { torchFindings } from './torch.ts';

export interface DoctorOptions {
  readonly config?: string | undefined;
  readonly set?: readonly string[] | undefined;
  /** Measure the processor. */
  readonly speed: boolean;
}

const marks: { readonly [V in Verdict]: string } = { good: 'ok', note: 'note', bad: 'BAD' };

async function speedFinding(threads: number | null): Promise<Finding> {
  try {
    const { measureSpeed } = await import('./measure-speed.ts');
    const { matmul, convolution } = await measureSpeed(threads ?? undefined);
    const text = `matrix product ${Math.round(matmul)}, convolution ${Math.round(convolution)} GFLOP/s on the processor`;
    return { verdict: 'good', name: 'speed', text };
  } catch (error) {
    return {
      verdict: 'bad',
      name: 'speed',
      text: reasonOf(error),
      advice: 'ONNX Runtime must work',
    };
  }
}

/** What a run would use: the configuration's device, or the default. */
async function deviceFinding(config: UnsizedConfig | undefined): Promise<Finding> {
  const name = 'would train on';
  const threads = config?.device.threads ?? null;
  const count = threads === null ? 'one thread for each core' : plural(threads, 'thread');
  const from = config ? '' : '; give --config to see what a configuration uses';
  try {
    const how = config ? await executorText(config) : 'ONNX Runtime, cpu';
    const counted = config?.device.executor === 'tfjs' ? '' : `, ${count}`;
    return { verdict: 'good', name, text: `${how}${counted}${from}` };
  } catch (error) {
    const { executor } = config?.device ?? {};
    return { verdict: 'bad', name, text: `${executor}, which is not there: ${reasonOf(error)}` };
  }
}

function page(findings: readonly Finding[]): string {
  const rows = findings.map(({ verdict, name, text }) => [marks[verdict], name, text]);
  return formatTable(rows)
    .split('\n')
    .flatMap((line, i) => {
      const { advice } = findings[i]!;
      return advice === undefined ? [line] : [line, `      ${advice}`];
    })
    .join('\n');
}

/** @returns 0, or 1 where something is missing that training needs */
export async function runDoctor(options: DoctorOptions, terminal: Terminal): Promise<number> {
  const config = options.config === undefined ? undefined : loadRunConfig(options).config;
  const engine = await onnxFindings();
  const works = engine.every(({ verdict }) => verdict !== 'bad');
  const findings = [
    ...machineFindings(),
    ...engine,
    ...(await torchFindings(config)),
    ...(await tfjsFindings()),
    await sharpFinding(),
    await tokenizerFinding(),
    await diskFinding(config?.output.dir ?? resolve('.')),
    await deviceFinding(config),
    ...(options.speed && works ? [await speedFinding(config?.device.threads ?? null)] : []),
  ];
  terminal.print(page(findings));
  return findings.some(({ verdict }) => verdict === 'bad') ? 1 : 0;
}
