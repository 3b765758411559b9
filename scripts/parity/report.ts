/** @file Compares tensors with golden ones, prints a line for each, and counts. */

import { type Shape, sameShape } from '../../src/tensor/shape.ts';

/** Largest error allowed, as a part of the golden tensor's largest magnitude. */
export const tolerances = {
  /** Outputs of networks, latents, merged weights. */
  output: 2e-5,
  /** Each gradient tensor by itself. */
  gradient: 1e-4,
  loss: 2e-6,
} as const;

/** `relative` to the golden tensor's largest magnitude, or `absolute`. */
export type Bound = { readonly relative: number } | { readonly absolute: number };

export interface Numbers {
  readonly shape: Shape;
  readonly data: ArrayLike<number>;
}

/** A plain list as a tensor. */
export const vector = (data: ArrayLike<number>): Numbers => ({ shape: [data.length], data });

export interface ReportOptions {
  readonly print: (line: string) => void;
  /** Shows where the error is largest, and the two values there. */
  readonly verbose: boolean;
}

const short = (x: number) => (x === 0 ? '0' : x.toExponential(2));
const columns = (verdict: string, name: string, ...numbers: string[]) =>
  `${verdict.padEnd(5)}${name.padEnd(96)}${numbers.map((text) => text.padStart(11)).join('')}`;

export class Report {
  readonly #options: ReportOptions;
  #where = '';
  #slack = 1;
  #passed = 0;
  readonly #failures: string[] = [];

  constructor(options: ReportOptions) {
    this.#options = options;
  }

  get passed(): number {
    return this.#passed;
  }

  /** Names of what is beyond its bound. */
  get failures(): readonly string[] {
    return this.#failures;
  }

  /** A line that is no comparison. */
  say(line: string): void {
    this.#options.print(line);
  }

  /**
   * Begins a table; `where` says what its lines belong to, such as `sd15 onnx unet`. All bounds in it
   * are `slack` times as wide as given.
   */
  start(where: string, slack = 1): void {
    this.#where = where;
    this.#slack = slack;
    this.say('');
    this.say(columns('', where, 'max error', 'relative', 'bound'));
  }

  compare(name: string, actual: Numbers, golden: Numbers, bound: Bound): void {
    if (!sameShape(actual.shape, golden.shape)) {
      this.fail(name, `shape [${actual.shape}], expected [${golden.shape}]`);
      return;
    }
    let worst = 0;
    let error = 0;
    let largest = 0;
    for (let i = 0; i < golden.data.length; i++) {
      const distance = Math.abs(actual.data[i]! - golden.data[i]!);
      // NaN counts as infinitely far.
      if (!(distance <= error)) {
        error = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance;
        worst = i;
      }
      largest = Math.max(largest, Math.abs(golden.data[i]!));
    }
    const limit = this.#slack * ('relative' in bound ? bound.relative * largest : bound.absolute);
    const ok = error <= limit;
    const relative = largest === 0 ? '-' : short(error / largest);
    const numbers = [short(error), relative, short(limit)];
    this.#verdict(ok, name, numbers);
    if (!ok || this.#options.verbose) {
      this.say(
        `       largest at ${worst} of ${golden.data.length}: ${actual.data[worst]}, golden ${golden.data[worst]}`,
      );
    }
  }

  /** Holds a condition that has no numbers. */
  check(name: string, ok: boolean, otherwise: string): void {
    if (ok) this.#verdict(true, name, []);
    else this.fail(name, otherwise);
  }

  fail(name: string, reason: string): void {
    this.#verdict(false, name, []);
    this.say(`       ${reason}`);
  }

  #verdict(ok: boolean, name: string, numbers: readonly string[]): void {
    if (ok) this.#passed++;
    else this.#failures.push(`${this.#where} ${name}`);
    this.say(columns(ok ? 'ok' : 'FAIL', name, ...numbers));
  }
}
