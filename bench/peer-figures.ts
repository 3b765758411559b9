/** @file What a comparison with a peer leaves behind. */

import type { CurveDifference } from './compare-curves.ts';
import type { Summary } from './statistics.ts';

/** What one process tells. */
export interface Figures {
  readonly step_s: Summary;
  readonly peak_rss_gib: number;
  readonly cpu_s_per_step?: Summary;
  readonly host?: { readonly cpu_s_per_step: Summary };
  /** Of the peer: its allocator's own count. */
  readonly cuda?: { readonly peak_allocated_gib: number; readonly peak_reserved_gib: number };
  readonly floor?: { readonly floor_s: number; readonly matmul_gflops: number } | null;
  readonly flops?: number;
  readonly losses?: readonly number[];
  /** Most MiB of the GPU that it used. */
  readonly gpuMib?: number;
}

/** All figures of a case; what is missing failed or was not asked for. */
export interface CaseResult {
  readonly case: string;
  readonly sides: Readonly<Record<string, readonly Figures[]>>;
  readonly failed: readonly string[];
  readonly ratios: Readonly<Record<string, { readonly time: number; readonly memory: number }>>;
  readonly curves: Readonly<Record<string, CurveDifference>>;
}
