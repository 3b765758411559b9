/** @file Collects the steps that a graph becomes, each distinct step once. */

import type { Shape } from '../../tensor/shape.ts';
import type { Tfjs, TfTensor } from './open-tfjs.ts';

/** How a value's dimensions lie: as the node says, or an image with its channels last. */
export type Layout = 'plain' | 'image';

/** A tensor of a run, by its number. */
export interface Value {
  readonly id: number;
  readonly layout: Layout;
}

/**
 * Computes a tensor that nobody else holds; the inputs stay. What it makes on the way is freed after
 * it.
 */
export type Compute = (tf: Tfjs, inputs: readonly TfTensor[]) => TfTensor;

export interface Step {
  readonly inputs: readonly Value[];
  readonly result: Value;
  readonly compute: Compute;
}

/** Fixed numbers. */
export interface Constant {
  readonly value: Value;
  readonly shape: Shape;
  readonly numbers: readonly number[];
}

/** What a step is, but for its inputs: steps of the same description are the same. */
interface Description {
  readonly attrs?: unknown;
  readonly layout?: Layout;
}

export class TfjsEmitter {
  readonly steps: Step[] = [];
  readonly constants: Constant[] = [];
  readonly #known = new Map<string, Value>();
  #size = 0;

  /** Number of values so far. */
  get size(): number {
    return this.#size;
  }

  /** A value that is there before the first step. */
  leaf(): Value {
    return this.#value('plain');
  }

  constant(numbers: readonly number[], shape: Shape): Value {
    return this.#once(`constant ${shape}:${numbers}`, () => {
      const value = this.#value('plain');
      this.constants.push({ value, shape, numbers });
      return value;
    });
  }

  /** The result of a step; asked for again, it is the same one. */
  emit(
    name: string,
    inputs: readonly Value[],
    compute: Compute,
    { attrs, layout = 'plain' }: Description = {},
  ): Value {
    const key = `${name} ${layout} ${inputs.map(({ id }) => id)} ${JSON.stringify(attrs)}`;
    return this.#once(key, () => this.#step(inputs, compute, layout));
  }

  /** Another name of a value, so that steps on it are not merged with steps on the value. */
  alias(of: Value): Value {
    return this.#step([of], (tf, [x]) => tf.clone(x!), of.layout);
  }

  #step(inputs: readonly Value[], compute: Compute, layout: Layout): Value {
    const result = this.#value(layout);
    this.steps.push({ inputs, result, compute });
    return result;
  }

  #value(layout: Layout): Value {
    return { id: this.#size++, layout };
  }

  #once(key: string, make: () => Value): Value {
    const known = this.#known.get(key);
    if (known) return known;
    const value = make();
    this.#known.set(key, value);
    return value;
  }
}
