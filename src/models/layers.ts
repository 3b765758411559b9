/**
 * @file The layers that networks are made of: each finds its weights by its path and asks the
 * adapter, if there is one, what to add.
 */

import type { GraphBuilder } from '../graph/graph-builder.ts';
import { joinedName, summedName } from '../graph/joined-name.ts';
import type { ConvAttrs, Node } from '../graph/ops.ts';
import type { Shape } from '../tensor/shape.ts';
import { inJoinOrder } from './joined-layers.ts';

/** What changes single layers of a frozen network, such as a LoRA. */
export interface Adapter {
  /**
   * The output of a linear layer. A 1x1 convolution whose pixels were made tokens counts as one.
   * @param path of the layer with its network, such as `unet.mid_block.attentions.0.proj_in`
   * @param x [.., in]
   * @param base the frozen layer's output, [.., out]
   */
  linear(g: GraphBuilder, path: string, x: Node, base: Node): Node;
  /**
   * The outputs of several linear layers of one input, side by side in the last dimension; null where
   * they can only be had one by one.
   */
  joined(g: GraphBuilder, paths: readonly string[], x: Node, base: Node): Node | null;
  /** The output of a convolution; x [n, in, h, w], base [n, out, h', w']. */
  conv2d(g: GraphBuilder, path: string, x: Node, base: Node, window: ConvWindow): Node;
}

/** How a convolution moves over its input. */
export interface ConvWindow {
  readonly stride?: number;
  /** The same on all sides, or [top, left, bottom, right], in pixels. */
  readonly padding?: number | ConvAttrs['pads'];
}

/** A place in a network: where its layers find their weights. */
export interface Scope {
  readonly g: GraphBuilder;
  readonly adapter: Adapter | undefined;
  /** Whether layers of one input are one product. */
  readonly joinsLayers: boolean;
  /** The full name of what is at `path`. */
  nameOf(path: string): string;
  /** @throws internal error where there is no such weight */
  weight(path: string): Node;
  /** Frozen weights, one after the other; each the sum of weights of one shape. */
  joinedWeight(parts: readonly (readonly string[])[]): Node;
  has(path: string): boolean;
  /** @throws internal error where there is no such weight */
  shape(path: string): Shape;
  at(sub: string): Scope;
  /** The paths below that end so, without the end. */
  endingWith(end: string): string[];
}

export interface ScopeOptions {
  readonly adapter?: Adapter | undefined;
  /** Whether layers of one input are one product; false unless given. */
  readonly joinsLayers?: boolean | undefined;
  /** Makes the node of a weight; a frozen parameter unless given. Asked once for each name. */
  readonly makeWeight?: (name: string, shape: Shape) => Node;
}

/**
 * The scope of one network.
 *
 * @param shapes of all weights by full name, such as `unet.conv_in.weight`
 * @param network the first part of those names: `unet`, `text_encoder` or `vae`
 */
export function networkScope(
  g: GraphBuilder,
  shapes: ReadonlyMap<string, Shape>,
  network: string,
  { adapter, joinsLayers = false, makeWeight }: ScopeOptions = {},
): Scope {
  const weights = new Map<string, Node>();
  const shape = (name: string): Shape => {
    const found = shapes.get(name);
    if (!found) throw new Error(`internal: there is no weight ${name}`);
    return found;
  };
  const weight = (name: string): Node => {
    const make = makeWeight ?? ((key, size) => g.parameter(key, size));
    const node = weights.get(name) ?? make(name, shape(name));
    weights.set(name, node);
    return node;
  };
  const joinedWeight = (parts: readonly (readonly string[])[]): Node => {
    const sizes = parts.map(([name]) => shape(name!));
    const rows = sizes.reduce((sum, [size]) => sum + size!, 0);
    return g.parameter(joinedName(parts.map(summedName)), [rows, ...sizes[0]!.slice(1)]);
  };
  const scopeAt = (prefix: string): Scope => ({
    g,
    adapter,
    joinsLayers: joinsLayers && !makeWeight,
    nameOf: (path) => prefix + path,
    weight: (path) => weight(prefix + path),
    has: (path) => shapes.has(prefix + path),
    shape: (path) => shape(prefix + path),
    at: (sub) => scopeAt(`${prefix}${sub}.`),
    joinedWeight: (parts) => joinedWeight(parts.map((terms) => terms.map((path) => prefix + path))),
    endingWith: (end) =>
      [...shapes.keys()]
        .filter((name) => name.startsWith(prefix) && name.endsWith(end))
        .map((name) => name.slice(prefix.length, -end.length)),
  });
  return scopeAt(`${network}.`);
}

/** How many of `path.0`, `path.1`, … there are; `probe` is a weight that each of them has. */
export function countAt(s: Scope, path: string, probe: string): number {
  let count = 0;
  while (s.has(`${path}.${count}.${probe}`)) count++;
  return count;
}

const biasOf = (s: Scope, path: string) =>
  s.has(`${path}.bias`) ? s.weight(`${path}.bias`) : undefined;

/** x [.., in] to [.., out]; the weight is [out, in], or that of a 1x1 convolution. */
export function linear(s: Scope, path: string, x: Node): Node {
  const weight = s.weight(`${path}.weight`);
  const [out, features] = weight.shape as [number, number];
  const matrix = weight.shape.length === 2 ? weight : s.g.reshape(weight, [out, features]);
  const base = s.g.linear(x, matrix, biasOf(s, path));
  return s.adapter ? s.adapter.linear(s.g, s.nameOf(path), x, base) : base;
}

/**
 * Several linear layers of one input x [.., in], each to its [.., out]; one product where layers are
 * joined. They all have a bias, or none has.
 *
 * @param biasesOf layers whose biases a layer adds; its own unless given
 */
export function linears(
  s: Scope,
  paths: readonly string[],
  x: Node,
  biasesOf = (path: string): readonly string[] => [path],
): Node[] {
  const { g } = s;
  if (!s.joinsLayers) return paths.map((path) => linear(s, path, x));
  const sorted = inJoinOrder(paths);
  const weight = s.joinedWeight(sorted.map((path) => [`${path}.weight`]));
  const biases = sorted.map((path) => biasesOf(path).map((of) => `${of}.bias`));
  const bias = s.has(biases[0]![0]!) ? s.joinedWeight(biases) : undefined;
  const base = g.linear(x, weight, bias);
  const names = sorted.map((path) => s.nameOf(path));
  const joined = s.adapter ? s.adapter.joined(g, names, x, base) : base;
  const axis = base.shape.length - 1;
  let end = 0;
  const outputs = new Map(
    sorted.map((path, i) => {
      const start = end;
      end += s.shape(`${path}.weight`)[0]!;
      const part = g.sliceAxis(joined ?? base, axis, start, end);
      return [path, joined ? part : s.adapter!.linear(g, names[i]!, x, part)];
    }),
  );
  return paths.map((path) => outputs.get(path)!);
}

/**
 * x [n, in, h, w] by the weight [out, in, kh, kw].
 *
 * @param biases layers whose biases are added; its own unless given
 */
export function conv2d(
  s: Scope,
  path: string,
  x: Node,
  window: ConvWindow = {},
  biases: readonly string[] = [path],
): Node {
  const found = biases.map((of) => `${of}.bias`).filter((name) => s.has(name));
  const bias =
    found.length > 1 ? s.joinedWeight([found]) : found[0] ? s.weight(found[0]) : undefined;
  const base = s.g.conv2d(x, s.weight(`${path}.weight`), bias, window);
  return s.adapter ? s.adapter.conv2d(s.g, s.nameOf(path), x, base, window) : base;
}

/** Groups of every group norm of Stable Diffusion. */
const normGroups = 32;

/** Normalises x [n, c, h, w] over each of 32 groups of channels. */
export function groupNorm(s: Scope, path: string, x: Node, epsilon: number): Node {
  const [scale, bias] = [s.weight(`${path}.weight`), s.weight(`${path}.bias`)];
  return s.g.groupNorm(x, scale, bias, normGroups, epsilon);
}

/** Epsilon of every layer norm of Stable Diffusion. */
const layerNormEpsilon = 1e-5;

/** Normalises x [.., c] over its last dimension. */
export function layerNorm(s: Scope, path: string, x: Node): Node {
  const [scale, bias] = [s.weight(`${path}.weight`), s.weight(`${path}.bias`)];
  return s.g.layerNorm(x, scale, bias, layerNormEpsilon);
}

/** Pixels to tokens: [n, c, h, w] to [n, h·w, c]. */
export function toTokens(g: GraphBuilder, x: Node): Node {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  return g.transpose(g.reshape(x, [n, c, h * w]), [0, 2, 1]);
}

/** Tokens to pixels: [n, h·w, c] to [n, c, h, w]. */
export function toPixels(g: GraphBuilder, x: Node, height: number, width: number): Node {
  const [n, , c] = x.shape as [number, number, number];
  return g.reshape(g.transpose(x, [0, 2, 1]), [n, c, height, width]);
}
