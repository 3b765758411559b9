/** @file All trained weights of a network as one flat vector, which one optimizer step updates. */

import { grad } from '../../src/graph/autodiff/grad.ts';
import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node } from '../../src/graph/ops.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';

interface Place {
  readonly shape: Shape;
  readonly offset: number;
}

/**
 * The last layers of residual branches: at the start every block passes its input on. Layers inside of
 * transformers are not among them: what attention brings from captions shall count at once.
 */
const startsAtZero =
  /\.conv2\.weight$|\.proj_out\.weight$|^text_encoder\..*(out_proj|fc2)\.weight$|^vae\..*to_out\.0\.weight$/;

/** Where each weight lies in the vector. */
export class FlatWeights {
  readonly places: ReadonlyMap<string, Place>;
  /** Elements of the vector. */
  readonly length: number;

  constructor(shapes: Iterable<readonly [string, Shape]>) {
    const places = new Map<string, Place>();
    let offset = 0;
    for (const [name, shape] of shapes) {
      places.set(name, { shape, offset });
      offset += sizeOf(shape);
    }
    this.places = places;
    this.length = offset;
  }

  /** Start values: of variance 1/fan-in for weights, ones for norms, zeros for biases, small normals for embeddings. */
  initialValues(seed: number): Float32Array {
    const values = new Float32Array(this.length);
    for (const [name, { shape, offset }] of this.places) {
      const rng = new Rng(seed, name);
      const size = sizeOf(shape);
      const fanIn = shape.slice(1).reduce((n, d) => n * d, 1);
      const isNorm = /norm/.test(name) && shape.length === 1;
      for (let i = 0; i < size; i++) {
        if (name.endsWith('.bias') || startsAtZero.test(name)) continue;
        else if (isNorm) values[offset + i] = 1;
        else if (name.includes('embedding.weight')) values[offset + i] = 0.05 * rng.normal();
        else values[offset + i] = (2 * rng.uniform() - 1) * Math.sqrt(3 / fanIn);
      }
    }
    return values;
  }

  /** One weight's part of a vector. */
  view(vector: Float32Array, name: string): Float32Array {
    const place = this.places.get(name);
    if (!place) throw new Error(`internal: no weight ${name}`);
    return vector.subarray(place.offset, place.offset + sizeOf(place.shape));
  }

  /** Nodes of the weights, cut from the node of the vector. */
  nodes(g: GraphBuilder, vector: Node): Map<string, Node> {
    return new Map(
      Array.from(this.places, ([name, { shape, offset }]) => [
        name,
        g.reshape(g.sliceAxis(vector, 0, offset, offset + sizeOf(shape)), shape),
      ]),
    );
  }

  /**
   * The gradient of `loss` as a vector, given the nodes of the weights.
   * @param isTrained tells which weights have one; the others get zeros
   */
  gradient(
    g: GraphBuilder,
    loss: Node,
    nodes: ReadonlyMap<string, Node>,
    isTrained: (name: string) => boolean,
  ): Node {
    const trained = [...nodes].filter(([name]) => isTrained(name));
    const gradients = grad(
      g,
      loss,
      trained.map(([, node]) => node),
    );
    const byName = new Map(trained.map(([name], i) => [name, gradients[i]]));
    const parts = Array.from(nodes, ([name, node]) => {
      const gradient = byName.get(name);
      const size = sizeOf(node.shape);
      return gradient ? g.reshape(gradient, [size]) : g.constant(0, [size]);
    });
    return g.concat(parts, 0);
  }
}
