/** @file Looks at the machine and its libraries, and prints what was found. */

import { resolve } from 'node:path';
import { deviceSection } from '../../config/device-section.ts';
import type { UnsizedConfig } from '../../config/resolve-config.ts';
import { chooseExecutor, executorText } from '../create-executor.ts';
import { formatTable } from '../format-table.ts';
import { plural } from '../format-units.ts';
import { idleGpu } from '../idle-gpu.ts';
import { loadRunConfig } from '../load-run-config.ts';
import type { Terminal } from '../terminal.ts';
import { deviceFindings } from './devices.ts';
import { onnxFindings, sharpFinding, tokenizerFinding } from './engine.ts';
import { type Finding, reasonOf, type Verdict } from './finding.ts';
import { diskFinding, machineFindings } from './machine.ts';
import { tfjsFindings } from './tfjs.ts';
import { torchFindings } from './torch.ts';

export interface DoctorOptions {
  readonly config?: string | undefined;
  readonly set?: readonly string[] | undefined;
  /** Measure each device. */
  readonly speed: boolean;
}

const marks: { readonly [V in Verdict]: string } = { good: 'ok', note: 'note', bad: 'BAD' };

/** What a run would use, and why. */
async function choiceFinding(config: Pick<UnsizedConfig, 'device' | 'webui'>): Promise<Finding> {
  const name = 'would train on';
  const { threads, executor } = config.device;
  const count = threads === null ? 'one thread for each core' : plural(threads, 'thread');
  try {
    const { why, executor } = await chooseExecutor(config);
    const counted = executor === 'tfjs' ? '' : `, ${count}`;
    const text = `${await executorText(config)}${counted}; ${why}`;
    const advice = await idleGpu(config);
    return advice === undefined
      ? { verdict: 'good', name, text }
      : { verdict: 'note', name, text, advice };
  } catch (error) {
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
  const search = config ?? { device: deviceSection.parse({}), webui: null };
  const engine = await onnxFindings();
  const findings = [
    ...machineFindings(),
    ...engine,
    ...(await torchFindings(config)),
    ...(await tfjsFindings()),
    await sharpFinding(),
    await tokenizerFinding(),
    await diskFinding(config?.output.dir ?? resolve('.')),
    ...(await deviceFindings(search, options.speed)),
    await choiceFinding(search),
  ];
  terminal.print(page(findings));
  return findings.some(({ verdict }) => verdict === 'bad') ? 1 : 0;
}
