/** @file The machine: Node.js, system, processor, memory, disk. */

import { statfs } from 'node:fs/promises';
import { availableParallelism, cpus, freemem, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { formatBytes, plural } from '../format-units.ts';
import type { Finding } from './finding.ts';

/** `engines.node` of the package. */
const oldestNode = [20, 19] as const;

/** Training a full-size SD 1.5 at 512 pixels with gradient checkpointing takes about so much. */
const smallestMemory = 7e9;

function nodeFinding(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldMajor, oldMinor] = oldestNode;
  const good = major > oldMajor || (major === oldMajor && minor >= oldMinor);
  return {
    verdict: good ? 'good' : 'bad',
    name: 'Node.js',
    text: version,
    ...(good ? {} : { advice: `install Node.js ${oldMajor}.${oldMinor} or newer` }),
  };
}

/** Bytes that this process may use: the machine's, or its container's. */
function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

function memoryFinding(): Finding {
  const total = memoryLimit();
  // Node 20 has it from 20.13 on.
  const { availableMemory } = process as { availableMemory?: () => number };
  const text = `${formatBytes(total)}, ${formatBytes(availableMemory?.() ?? freemem())} free`;
  if (total >= smallestMemory) return { verdict: 'good', name: 'memory', text };
  const advice = `little for a full-size base at 512 pixels (about ${formatBytes(smallestMemory)} with train.gradientCheckpointing); small bases will do`;
  return { verdict: 'note', name: 'memory', text, advice };
}

/** Node.js, the system, the processor and the memory. */
export function machineFindings(nodeVersion = process.versions.node): Finding[] {
  const [first] = cpus();
  const model = first?.model.trim() ?? 'unknown';
  return [
    nodeFinding(nodeVersion),
    { verdict: 'good', name: 'system', text: `${process.platform} ${process.arch} ${release()}` },
    {
      verdict: 'good',
      name: 'processor',
      text: `${model}, ${plural(availableParallelism(), 'core')} for this program`,
    },
    memoryFinding(),
  ];
}

/** An adapter, its states and the cache of a small data set take less. */
const littleSpace = 1e9;

/** The disk that the output goes to; `folder` need not be there yet. */
export async function diskFinding(folder: string): Promise<Finding> {
  const facts = await statfs(folder).catch(() => null);
  if (!facts && dirname(folder) !== folder) return diskFinding(dirname(folder));
  if (!facts) return { verdict: 'note', name: 'disk', text: `${folder}: unknown` };
  const free = facts.bavail * facts.bsize;
  const text = `${formatBytes(free)} free at ${folder}`;
  if (free >= littleSpace) return { verdict: 'good', name: 'disk', text };
  return { verdict: 'note', name: 'disk', text, advice: 'free some space before a long run' };
}
