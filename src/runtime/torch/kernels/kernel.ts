/** @file Kernels of our own for NVIDIA GPUs: their source, and how one is launched. */

import type { ComputeType } from '../rules/rule.ts';

/** One function of CUDA C++; compiled when it is first launched, once for each source. */
export interface Kernel {
  /** The function's name. */
  readonly entry: string;
  readonly source: string;
}

/** A number argument, by the type of the function's parameter. */
export type KernelScalar = { readonly i32: number } | { readonly f32: number };

/** The parameters are the inputs, the results and the scalars, in this order. */
export interface Launch {
  readonly kernel: Kernel;
  /** Blocks in x and y. */
  readonly grid: readonly [number, number];
  /** Threads of a block, in x. */
  readonly block: number;
  readonly scalars: readonly KernelScalar[];
  /** Bytes of which each tensor's address is a multiple; `packBytes` unless given. */
  readonly alignment?: number;
}

/** Launches on the stream on which libtorch computes. */
export interface KernelLauncher {
  /** Compiles kernels on all cores, so that `prepare` finds them; where one fails, `prepare` says so. */
  readonly ready?: (kernels: readonly Kernel[]) => Promise<void>;
  /**
   * Compiles the kernel unless it is there already.
   * @param parameters the address of an array with the address of each parameter's value
   * @returns what begins the work once
   * @throws where the kernel cannot be compiled
   */
  prepare(launch: Launch, parameters: number): () => void;
}

/** Bytes of a load or a store, which have to lie at a multiple of them. */
export const packBytes = 16;

/** Elements of a load. */
export const packWidth = (compute: ComputeType): number => (compute === 'f32' ? 4 : 8);
