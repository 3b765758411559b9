/**
 * @file The one source of randomness: a counter-based generator (Philox4x32-10, Salmon et al. 2011,
 * "Parallel random numbers: as easy as 1, 2, 3"), so that a draw depends on its key alone, never on
 * what was drawn before it.
 */

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

/** Upper 32 bits of the 64-bit product of two unsigned words. */
function mulHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const low = a0 * b0;
  const mid = a1 * b0 + (low >>> 16);
  const mid2 = a0 * b1 + (mid % 0x10000);
  return (a1 * b1 + Math.floor(mid / 0x10000) + Math.floor(mid2 / 0x10000)) >>> 0;
}

/** FNV-1a, 32 bits, of a text: makes a key word of a purpose's name. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

/** A stream of draws with a fixed key; two streams of the same key give the same numbers. */
export class Rng {
  readonly #key: readonly [number, number];
  readonly #counter: Uint32Array;
  readonly #block = new Uint32Array(4);
  #used = 4;
  #spare: number | undefined;

  /**
   * @param seed of the run
   * @param purpose what is drawn, such as `noise` or `timestep`
   * @param step of the run, from 0
   * @param sample within the step
   */
  constructor(seed: number, purpose: string, step = 0, sample = 0) {
    this.#key = [seed >>> 0, (hashText(purpose) ^ Math.floor(seed / 2 ** 32)) >>> 0];
    this.#counter = Uint32Array.of(0, 0, step >>> 0, sample >>> 0);
  }

  /** The next 32 random bits. */
  bits(): number {
    if (this.#used === 4) this.#fill();
    return this.#block[this.#used++]!;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return (this.bits() * 2 ** 21 + (this.bits() >>> 11)) * 2 ** -53;
  }

  /** A whole number, uniform in [0, n). */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Normal with mean 0 and variance 1 (Box and Muller, 1958). */
  normal(): number {
    if (this.#spare !== undefined) {
      const value = this.#spare;
      this.#spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** `n` normal values. */
  normals(n: number): Float32Array {
    const values = new Float32Array(n);
    for (let i = 0; i < n; i++) values[i] = this.normal();
    return values;
  }

  /** A permutation of `items` (Fisher and Yates). */
  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [out[i], out[j]] = [out[j]!, out[i]!];
    }
    return out;
  }

  #fill(): void {
    let [c0, c1, c2, c3] = this.#counter as unknown as [number, number, number, number];
    let [k0, k1] = this.#key;
    for (let round = 0; round < 10; round++) {
      const high0 = mulHigh(multiplier0, c0);
      const low0 = Math.imul(multiplier0, c0) >>> 0;
      const high1 = mulHigh(multiplier1, c2);
      const low1 = Math.imul(multiplier1, c2) >>> 0;
      [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
      k0 = (k0 + weyl0) >>> 0;
      k1 = (k1 + weyl1) >>> 0;
    }
    this.#block.set([c0, c1, c2, c3]);
    this.#used = 0;
    this.#counter[0] = (this.#counter[0]! + 1) >>> 0;
    if (this.#counter[0] === 0) this.#counter[1] = (this.#counter[1]! + 1) >>> 0;
  }
}
