/** @file Memory and processor time of this process, as Linux counts them. */

import { readFileSync, writeFileSync } from 'node:fs';

/** A field of /proc/self/status in GiB; undefined where there is no such file. */
function statusGib(field: 'VmHWM' | 'VmRSS'): number | undefined {
  try {
    const match = new RegExp(`${field}:\\s+(\\d+) kB`).exec(
      readFileSync('/proc/self/status', 'utf8'),
    );
    return match ? Number(match[1]) / 2 ** 20 : undefined;
  } catch {
    return undefined;
  }
}

/** The most memory that was resident since the start, or since the last `forgetPeak`, in GiB. */
export const peakGib = () => statusGib('VmHWM') ?? process.resourceUsage().maxRSS / 2 ** 20;

/** Memory that is resident now, in GiB. */
export const residentGib = () => statusGib('VmRSS') ?? process.memoryUsage().rss / 2 ** 30;

/** Starts the peak anew; false where the system cannot. */
export function forgetPeak(): boolean {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return true;
  } catch {
    return false;
  }
}

/** Processor seconds of all threads since the start. */
export function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
