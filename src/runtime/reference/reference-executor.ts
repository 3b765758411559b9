/**
 * @file The executor that defines what every operation means: plain loops in TypeScript, slow and
 * easy to read. Faster executors are tested against it.
 */

import { type Graph, isNamedLeaf, type Node } from '../../graph/ops.ts';
import { verifyGraph } from '../../graph/verify-graph.ts';
import type { DType } from '../../tensor/dtype.ts';
import { type Shape, sameShape, sizeOf } from '../../tensor/shape.ts';
import { f32, type Tensor } from '../../tensor/tensor.ts';
import type { Executable, Executor, ParameterSource, Values } from '../executor.ts';
import { joinedParameters } from '../joined-parameters.ts';
import type { Elements } from './kernel.ts';
import { runKernel } from './kernels.ts';

/**
 * How floats are kept between operations. With 'f64' all of them are, and feeds may be f64 tensors:
 * for finite differences.
 */
export type ReferencePrecision = 'f32' | 'f64';

type Floats = Float32Array | Float64Array;

class ReferenceExecutor implements Executor {
  readonly name: string;
  readonly #precision: ReferencePrecision;
  readonly #source: ParameterSource;
  readonly #parameters = new Map<string, Floats>();
  readonly #variables = new Map<string, { readonly shape: Shape; readonly data: Floats }>();

  constructor(source: ParameterSource, precision: ReferencePrecision) {
    this.name = precision === 'f32' ? 'reference' : 'reference-f64';
    this.#source = source;
    this.#precision = precision;
  }

  async compile(graph: Graph): Promise<Executable> {
    verifyGraph(graph);
    const dying = lastUses(graph);
    let disposed = false;
    return {
      run: async (feeds) => {
        if (disposed) throw new Error('internal: run after dispose');
        checkFeeds(graph, feeds, this.#precision);
        return this.#run(graph, dying, feeds);
      },
      dispose: async () => {
        disposed = true;
      },
    };
  }

  writeVariable(name: string, { shape, data }: Tensor<'f32'>): void {
    if (data.length !== sizeOf(shape)) {
      throw new Error(`internal: ${data.length} values for variable ${name} [${shape}]`);
    }
    this.#variables.set(name, { shape, data: this.#floats(data) });
  }

  readVariable(name: string): Tensor<'f32'> {
    const { shape, data } = this.#variable(name);
    return f32(shape, Float32Array.from(data));
  }

  async dispose(): Promise<void> {
    this.#parameters.clear();
    this.#variables.clear();
  }

  #run(graph: Graph, dying: readonly (readonly Node[])[], feeds: Values): Record<string, Tensor> {
    const values = new Map<Node, Elements>();
    for (const [i, node] of graph.nodes.entries()) {
      values.set(node, this.#evaluate(node, values, feeds));
      for (const dead of dying[i]!) values.delete(dead);
    }
    const outputs = Array.from(graph.outputs, ([name, node]): [string, Tensor] => {
      // A copy, so that nobody can change a variable or a parameter through a fetched value.
      const data = values.get(node)!.slice();
      const dtype: DType = node.dtype === 'i32' ? 'i32' : this.#precision;
      return [name, { dtype, shape: node.shape, data }];
    });
    for (const [name, node] of graph.updates) {
      const data = this.#floats(values.get(node)!);
      this.#variables.set(name, { shape: node.shape, data });
    }
    return Object.fromEntries(outputs);
  }

  #evaluate(node: Node, values: ReadonlyMap<Node, Elements>, feeds: Values): Elements {
    switch (node.op) {
      case 'input': {
        const { data } = feeds[node.attrs.name]!;
        return data instanceof Int32Array ? data : this.#floats(data as Floats);
      }
      case 'parameter':
        return this.#parameter(node.attrs.name, node.shape);
      case 'variable': {
        const { name } = node.attrs;
        const { shape, data } = this.#variable(name);
        if (!sameShape(shape, node.shape)) {
          throw new Error(`internal: variable ${name} is [${shape}], expected [${node.shape}]`);
        }
        return data;
      }
      default: {
        const out = this.#zeros(node);
        runKernel(
          node,
          node.inputs.map((input) => values.get(input)!),
          out,
        );
        return out;
      }
    }
  }

  #parameter(name: string, shape: Shape): Floats {
    let data = this.#parameters.get(name);
    if (!data) {
      const read = this.#source.read(name);
      data = this.#precision === 'f32' ? read : this.#floats(read);
      this.#parameters.set(name, data);
    }
    if (data.length !== sizeOf(shape)) {
      throw new Error(`internal: parameter ${name} has ${data.length} values, not [${shape}]`);
    }
    return data;
  }

  #variable(name: string): { readonly shape: Shape; readonly data: Floats } {
    const variable = this.#variables.get(name);
    if (!variable) throw new Error(`internal: variable ${name} was never written`);
    return variable;
  }

  #zeros(node: Node): Elements {
    const size = sizeOf(node.shape);
    if (node.dtype === 'i32') return new Int32Array(size);
    return this.#precision === 'f64' ? new Float64Array(size) : new Float32Array(size);
  }

  /** A copy in the executor's precision. */
  #floats(data: Elements): Floats {
    return this.#precision === 'f64' ? Float64Array.from(data) : Float32Array.from(data);
  }
}

/** For each position, the nodes whose value nobody reads after it. */
function lastUses(graph: Graph): Node[][] {
  const kept = new Set<Node>([...graph.outputs.values(), ...graph.updates.values()]);
  const last = new Map<Node, number>();
  for (const [i, node] of graph.nodes.entries()) {
    last.set(node, i);
    for (const input of node.inputs) last.set(input, i);
  }
  const dying = graph.nodes.map((): Node[] => []);
  for (const [node, i] of last) if (!kept.has(node)) dying[i]!.push(node);
  return dying;
}

function checkFeeds(graph: Graph, feeds: Values, precision: ReferencePrecision): void {
  const expected = new Set<string>();
  for (const node of graph.nodes) {
    if (!isNamedLeaf(node) || node.op !== 'input') continue;
    const { name } = node.attrs;
    expected.add(name);
    const feed = feeds[name];
    if (!feed) throw new Error(`internal: input ${name} is not fed`);
    const dtypes: DType[] =
      node.dtype === 'f32' && precision === 'f64' ? ['f32', 'f64'] : [node.dtype];
    if (!dtypes.includes(feed.dtype) || !sameShape(feed.shape, node.shape)) {
      throw new Error(
        `internal: input ${name} is ${feed.dtype}[${feed.shape}], expected ${node.dtype}[${node.shape}]`,
      );
    }
    if (feed.data.length !== sizeOf(feed.shape)) {
      throw new Error(`internal: input ${name} has ${feed.data.length} values for [${feed.shape}]`);
    }
  }
  for (const name of Object.keys(feeds)) {
    if (!expected.has(name)) throw new Error(`internal: the graph has no input ${name}`);
  }
}

/** Plain loops; sums in f64, values rounded to `precision` between operations. */
export function createReferenceExecutor({
  parameters,
  precision,
}: {
  readonly parameters: ParameterSource;
  readonly precision: ReferencePrecision;
}): Executor {
  return new ReferenceExecutor(joinedParameters(parameters), precision);
}
