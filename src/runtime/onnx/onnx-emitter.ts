/** @file Collects ONNX nodes; an operation on the same values is emitted once. */

import type { HalfType } from '../../tensor/half.ts';
import type { Shape } from '../../tensor/shape.ts';
import {
  type OnnxAttribute,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxType,
  onnxTypes,
} from './onnx-proto.ts';

/** The name of a value in the ONNX graph. */
export type ValueName = string;

interface EmitOptions {
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** `com.microsoft` for ONNX Runtime's own operations. */
  readonly domain?: string;
}

export class OnnxEmitter {
  /** Whether FusedMatMul is to be had; only the CPU's provider and CUDA's have it. */
  readonly fusesProducts: boolean;
  readonly #nodes: OnnxNode[] = [];
  readonly #widenings: OnnxNode[] = [];
  readonly initializers: OnnxInitializer[] = [];
  readonly #known = new Map<string, readonly ValueName[]>();
  #values = 0;

  constructor({ fusesProducts = true } = {}) {
    this.fusesProducts = fusesProducts;
  }

  /** One operation with one result. */
  emit(opType: string, inputs: readonly ValueName[], options: EmitOptions = {}): ValueName {
    return this.emitMany(opType, inputs, 1, options)[0]!;
  }

  /** One operation with several results. */
  emitMany(
    opType: string,
    inputs: readonly ValueName[],
    results: number,
    { attributes = {}, domain = '' }: EmitOptions = {},
  ): readonly ValueName[] {
    const key = `${domain}.${opType}(${inputs})${JSON.stringify(attributes)}#${results}`;
    const known = this.#known.get(key);
    if (known) return known;
    const outputs = Array.from({ length: results }, () => this.#name());
    this.#nodes.push({ opType, domain, inputs, outputs, attributes });
    this.#known.set(key, outputs);
    return outputs;
  }

  /** The last operation of the graph for a result: it gives the result its name. */
  result(name: ValueName, value: ValueName): void {
    this.#nodes.push({
      opType: 'Identity',
      domain: '',
      inputs: [value],
      outputs: [name],
      attributes: {},
    });
  }

  /**
   * A weight of 16 bits, fed flat, as floats; each time anew: what is widened is to be gone after its
   * use. A bf16 weight is fed as i16, since ONNX Runtime's binding has no bf16.
   */
  widen(weight: ValueName, type: HalfType, shape: Shape): ValueName {
    const push = (opType: string, inputs: readonly ValueName[], to?: OnnxType): ValueName => {
      const output = this.#name();
      const attributes: OnnxNode['attributes'] = to ? { to: onnxTypes[to] } : {};
      this.#widenings.push({ opType, domain: '', inputs, outputs: [output], attributes });
      return output;
    };
    const stored = type === 'f16' ? weight : push('BitCast', [weight], 'bf16');
    return push('Reshape', [push('Cast', [stored], 'f32'), this.integers(shape)]);
  }

  /**
   * The nodes that widen weights come first: of the producers of a node ONNX Runtime runs the
   * last-listed first, so that a weight is widened when all else that its reader needs is there.
   */
  get nodes(): readonly OnnxNode[] {
    return [...this.#widenings, ...this.#nodes];
  }

  /** Float constants: one for each element. */
  floats(values: readonly number[] | Float32Array, shape: Shape): ValueName {
    const array = Float32Array.from(values);
    return this.#initializer('f32', shape, new Uint8Array(array.buffer));
  }

  /** A float scalar. */
  float(value: number): ValueName {
    return this.floats([value], []);
  }

  /** A vector of 64-bit integers: shapes, axes, indices. */
  integers(values: readonly number[]): ValueName {
    const array = BigInt64Array.from(values, BigInt);
    return this.#initializer('i64', [values.length], new Uint8Array(array.buffer));
  }

  #initializer(type: OnnxType, shape: Shape, bytes: Uint8Array): ValueName {
    const key = `${type}[${shape}]${Buffer.from(bytes.buffer).toString('base64')}`;
    const known = this.#known.get(key);
    if (known) return known[0]!;
    const name = this.#name();
    this.initializers.push({ name, type, shape, bytes });
    this.#known.set(key, [name]);
    return name;
  }

  #name(): ValueName {
    return `v${this.#values++}`;
  }
}
