/** @file Small cases of every operation: shapes, attributes and random inputs that reach its corners. */

import type { GraphBuilder } from '../../src/graph/graph-builder.ts';
import type { Node, OpKind } from '../../src/graph/ops.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../src/tensor/shape.ts';
import { f32, i32, type Tensor } from '../../src/tensor/tensor.ts';

/** How an input is drawn: normal values, values in [0.5, 1.5), or row numbers below `rows`. */
export interface InputSpec {
  readonly shape: Shape;
  readonly values: 'normal' | 'positive' | { readonly rows: number };
}

/** One operation applied to inputs; `build` may add others around it. */
export interface OpCase {
  readonly op: OpKind;
  /** What is special about it. */
  readonly name: string;
  readonly inputs: readonly InputSpec[];
  readonly build: (g: GraphBuilder, ...inputs: Node[]) => Node;
}

const normal = (...shape: number[]): InputSpec => ({ shape, values: 'normal' });
const positive = (...shape: number[]): InputSpec => ({ shape, values: 'positive' });
const ids = (rows: number, ...shape: number[]): InputSpec => ({ shape, values: { rows } });

/** The same inputs each time, and the same values in every precision. */
export function drawInput({ shape, values }: InputSpec, key: string): Tensor<'f32' | 'i32'> {
  const rng = new Rng(7, key);
  const size = sizeOf(shape);
  if (values === 'normal') return f32(shape, rng.normals(size));
  const draw = values === 'positive' ? () => 0.5 + rng.uniform() : () => rng.integer(values.rows);
  const list = Array.from({ length: size }, draw);
  return values === 'positive' ? f32(shape, list) : i32(shape, list);
}

const broadcasts: readonly (readonly [string, number[], number[]])[] = [
  ['equal shapes', [2, 3, 4], [2, 3, 4]],
  ['a scalar', [2, 3], []],
  ['a scalar on the left', [], [3, 2]],
  ['a missing and a single dimension', [2, 3, 4], [3, 1]],
  ['both stretched', [2, 1, 4], [3, 1]],
  ['a bias per channel', [2, 3, 2, 2], [1, 3, 1, 1]],
];

function binaryCases(op: 'add' | 'sub' | 'mul' | 'div'): OpCase[] {
  return broadcasts.map(([name, a, b]) => ({
    op,
    name,
    inputs: [normal(...a), op === 'div' ? positive(...b) : normal(...b)],
    build: (g, x, y) => g[op](x!, y!),
  }));
}

const selectCases: OpCase[] = ([1, 0, -1, Number.NaN] as const).flatMap((condition) =>
  (['a tensor and a scalar', 'a scalar and a tensor', 'two tensors'] as const).map(
    (name): OpCase => {
      const shapes = {
        'a tensor and a scalar': [[2, 3], []],
        'a scalar and a tensor': [[], [4]],
        'two tensors': [
          [2, 3],
          [2, 3],
        ],
      };
      const [a, b] = shapes[name] as [number[], number[]];
      return {
        op: 'select',
        name: `${name}, by ${condition}`,
        inputs: [normal(...a), normal(...b)],
        build: (g, x, y) => g.select(g.constant(condition), x!, y!),
      };
    },
  ),
);

type UnaryKind = 'exp' | 'sqrt' | 'sigmoid' | 'silu' | 'gelu' | 'quickGelu';

function unaryCases(op: UnaryKind): OpCase[] {
  const spec = op === 'sqrt' ? positive : normal;
  const wide: OpCase = {
    op,
    name: 'far from zero',
    inputs: [spec(41)],
    build: (g, x) => g[op](g.scale(x!, op === 'exp' ? 3 : 5)),
  };
  return [
    { op, name: 'a tensor', inputs: [spec(2, 3, 5)], build: (g, x) => g[op](x!) },
    // Engines may keep images in an order of their own.
    { op, name: 'an image', inputs: [spec(2, 3, 4, 5)], build: (g, x) => g[op](x!) },
    wide,
  ];
}

/** Operations that engines may compute where another result lies, or will lie. */
const placedCases: OpCase[] = [
  {
    op: 'add',
    name: 'products, one to the other',
    inputs: [normal(2, 3, 4), normal(5, 4), normal(5, 4), normal(5)],
    build: (g, x, a, b, bias) => {
      const first = g.add(g.linear(x!, a!, bias!), g.linear(g.sigmoid(x!), b!));
      return g.add(first, g.linear(x!, b!));
    },
  },
  {
    op: 'add',
    name: 'batches of products, to a product whose rows are apart',
    inputs: [normal(2, 3, 4), normal(10, 4), normal(2, 5, 3), normal(2, 6, 3)],
    build: (g, x, w, up, inner) => {
      const base = g.transpose(g.reshape(g.linear(x!, w!), [6, 2, 5]), [1, 0, 2]);
      const sum = g.add(base, g.matmul(inner!, up!, { transposeB: true }));
      return g.reshape(g.transpose(sum, [1, 0, 2]), [2, 3, 10]);
    },
  },
  {
    op: 'mul',
    name: 'the halves of one value, as in GEGLU',
    inputs: [normal(2, 3, 8)],
    build: (g, x) => g.mul(g.sliceAxis(x!, 2, 0, 4), g.gelu(g.sliceAxis(x!, 2, 4, 8))),
  },
  {
    op: 'slice',
    name: 'three parts that go separate ways',
    inputs: [normal(2, 9)],
    build: (g, x) => {
      const [a, b, c] = [0, 1, 2].map((i) => g.sliceAxis(x!, 1, 3 * i, 3 * i + 3));
      return g.add(g.mul(a!, b!), g.exp(c!));
    },
  },
];

const matmulCases: OpCase[] = [
  ...[false, true].flatMap((transposeA) =>
    [false, true].map((transposeB): OpCase => {
      const a = transposeA ? [5, 3] : [3, 5];
      const b = transposeB ? [4, 5] : [5, 4];
      return {
        op: 'matmul',
        name: `transposed ${transposeA} ${transposeB}`,
        inputs: [normal(2, ...a), normal(2, ...b)],
        build: (g, x, y) => g.matmul(x!, y!, { transposeA, transposeB }),
      };
    }),
  ),
  {
    op: 'matmul',
    name: 'without a batch',
    inputs: [normal(7, 33), normal(33, 5)],
    build: (g, a, b) => g.matmul(a!, b!),
  },
  {
    op: 'matmul',
    name: 'two batch dimensions',
    inputs: [normal(2, 3, 2, 4), normal(2, 3, 5, 4)],
    build: (g, a, b) => g.matmul(a!, b!, { transposeB: true }),
  },
  {
    op: 'matmul',
    name: 'a matrix by itself',
    inputs: [normal(4, 4)],
    build: (g, a) => g.matmul(a!, a!, { transposeA: true }),
  },
];

const linearCases: OpCase[] = [
  {
    op: 'linear',
    name: 'a batch of sequences with a bias',
    inputs: [normal(2, 3, 5), normal(4, 5), normal(4)],
    build: (g, x, w, b) => g.linear(x!, w!, b),
  },
  {
    op: 'linear',
    name: 'a matrix without a bias',
    inputs: [normal(6, 17), normal(9, 17)],
    build: (g, x, w) => g.linear(x!, w!),
  },
  {
    op: 'linear',
    name: 'one row',
    inputs: [normal(1, 8), normal(3, 8), normal(3)],
    build: (g, x, w, b) => g.linear(x!, w!, b),
  },
  {
    op: 'linear',
    name: 'an adapter beside a frozen weight',
    inputs: [normal(2, 4, 6), normal(5, 6), normal(2, 6), normal(5, 2), normal(5)],
    build: (g, x, w, down, up, b) => {
      const low = g.linear(g.linear(x!, down!), up!);
      return g.add(g.linear(x!, w!, b), g.scale(low, 0.5));
    },
  },
];

type Padding = number | readonly [number, number, number, number];

function conv(
  name: string,
  x: readonly [number, number, number, number],
  weight: readonly [number, number, number, number],
  options: { readonly stride?: number; readonly padding?: Padding; readonly bias?: boolean },
): OpCase {
  const { bias = true, ...rest } = options;
  return {
    op: 'conv2d',
    name,
    inputs: [normal(...x), normal(...weight), ...(bias ? [normal(weight[0])] : [])],
    build: (g, input, w, b) => g.conv2d(input!, w!, b, rest),
  };
}

const convCases: OpCase[] = [
  conv('3x3, padded, batch 2', [2, 3, 5, 7], [4, 3, 3, 3], { padding: 1 }),
  conv('3x3, without padding or bias', [1, 2, 6, 5], [3, 2, 3, 3], { bias: false }),
  conv('1x1', [2, 5, 4, 3], [6, 5, 1, 1], {}),
  conv('1x1, one pixel', [1, 4, 1, 1], [3, 4, 1, 1], {}),
  conv('stride 2, even size', [2, 3, 8, 6], [4, 3, 3, 3], { stride: 2, padding: 1 }),
  conv('stride 2, odd size', [1, 3, 7, 9], [2, 3, 3, 3], { stride: 2, padding: 1 }),
  conv('stride 2, padded right and below only', [1, 2, 8, 6], [3, 2, 3, 3], {
    stride: 2,
    padding: [0, 0, 1, 1],
  }),
  conv('different padding on every side', [1, 2, 5, 6], [2, 2, 3, 3], { padding: [2, 0, 1, 3] }),
  conv('1x1, stride 2', [1, 3, 5, 5], [2, 3, 1, 1], { stride: 2, bias: false }),
  conv('4x4 patches', [2, 3, 8, 8], [5, 3, 4, 4], { stride: 4 }),
  conv('a kernel that is not square', [1, 2, 5, 6], [3, 2, 1, 3], { padding: [0, 1, 0, 1] }),
  conv('a batch with many pixels', [2, 2, 24, 23], [3, 2, 3, 3], { padding: 1 }),
  conv('padding wider than the image', [1, 1, 2, 2], [1, 1, 5, 5], { padding: 2 }),
];

function attention(
  name: string,
  [n, s, t, heads, d]: readonly [number, number, number, number, number],
  causal = false,
): OpCase {
  const channels = heads * d;
  return {
    op: 'attention',
    name,
    inputs: [normal(n, s, channels), normal(n, t, channels), normal(n, t, channels)],
    build: (g, q, k, v) => g.attention(q!, k!, v!, { heads, causal, scale: 1 / Math.sqrt(d) }),
  };
}

const attentionCases: OpCase[] = [
  attention('one head', [1, 4, 4, 1, 3]),
  attention('heads and batch', [2, 5, 5, 2, 4]),
  attention('more keys than queries', [2, 3, 7, 2, 4]),
  attention('fewer keys than queries', [1, 6, 2, 3, 2]),
  attention('causal', [2, 5, 5, 2, 4], true),
  attention('one query, one key', [1, 1, 1, 2, 2]),
  {
    op: 'attention',
    name: 'one value for queries, keys and values, without the usual scale',
    inputs: [normal(1, 4, 6)],
    build: (g, x) => g.attention(x!, x!, x!, { heads: 2, causal: true, scale: 1 }),
  },
];

const normCases: OpCase[] = [
  ...(
    [
      ['several groups', [2, 6, 3, 5], 3],
      ['one group', [1, 4, 2, 2], 1],
      ['a group for each channel', [2, 3, 4, 4], 3],
      ['a sequence', [2, 4, 5], 2],
    ] as const
  ).map(
    ([name, shape, groups]): OpCase => ({
      op: 'groupNorm',
      name,
      inputs: [normal(...shape), normal(shape[1]), normal(shape[1])],
      build: (g, x, scale, bias) => g.groupNorm(x!, scale!, bias!, groups, 1e-5),
    }),
  ),
  ...(
    [
      [2, 3, 8],
      [5, 7],
      [1, 4],
    ] as const
  ).map(
    (shape): OpCase => ({
      op: 'layerNorm',
      name: `over the last of [${shape}]`,
      inputs: [normal(...shape), normal(shape.at(-1)!), normal(shape.at(-1)!)],
      build: (g, x, scale, bias) => g.layerNorm(x!, scale!, bias!, 1e-5),
    }),
  ),
  {
    op: 'layerNorm',
    name: 'small values against epsilon',
    inputs: [normal(3, 6), normal(6), normal(6)],
    build: (g, x, scale, bias) => g.layerNorm(g.scale(x!, 0.01), scale!, bias!, 1e-3),
  },
];

const shapeCases: OpCase[] = [
  {
    op: 'reshape',
    name: 'other dimensions',
    inputs: [normal(2, 3, 4)],
    build: (g, x) => g.reshape(x!, [4, 6]),
  },
  {
    op: 'reshape',
    name: 'to a scalar',
    inputs: [normal(1, 1)],
    build: (g, x) => g.reshape(x!, []),
  },
  ...(
    [
      [
        [2, 3, 4],
        [1, 2, 0],
      ],
      [
        [2, 3, 4, 5],
        [0, 2, 1, 3],
      ],
      [
        [3, 5],
        [1, 0],
      ],
    ] as const
  ).map(
    ([shape, perm]): OpCase => ({
      op: 'transpose',
      name: `[${shape}] by [${perm}]`,
      inputs: [normal(...shape)],
      build: (g, x) => g.transpose(x!, perm),
    }),
  ),
  {
    op: 'concat',
    name: 'three along the middle',
    inputs: [normal(2, 1, 3), normal(2, 4, 3), normal(2, 2, 3)],
    build: (g, ...parts) => g.concat(parts, 1),
  },
  {
    op: 'concat',
    name: 'one value twice, along the last',
    inputs: [normal(2, 3)],
    build: (g, x) => g.concat([x!, x!], 1),
  },
  {
    op: 'concat',
    name: 'many vectors',
    inputs: Array.from({ length: 9 }, (_, i) => normal(i + 1)),
    build: (g, ...parts) => g.concat(parts, 0),
  },
  {
    op: 'slice',
    name: 'inside of every dimension',
    inputs: [normal(4, 5, 6)],
    build: (g, x) => g.emit('slice', [x!], { starts: [1, 0, 2], ends: [3, 5, 5] }),
  },
  {
    op: 'slice',
    name: 'along one axis',
    inputs: [normal(2, 6)],
    build: (g, x) => g.sliceAxis(x!, 1, 3, 6),
  },
  {
    op: 'pad',
    name: 'two that fill each other, added',
    inputs: [normal(2, 3, 2), normal(2, 2, 2)],
    build: (g, a, b) => {
      const [left, right] = [g.pad(a!, [0, 0, 0], [0, 2, 0]), g.pad(b!, [0, 3, 0], [0, 0, 0])];
      return g.add(g.add(left, right), g.add(right, left));
    },
  },
  {
    op: 'pad',
    name: 'two that overlap, added',
    inputs: [normal(2, 3), normal(2, 3)],
    build: (g, a, b) => g.add(g.pad(a!, [0, 0], [0, 2]), g.pad(b!, [0, 2], [0, 0])),
  },
  {
    op: 'pad',
    name: 'different before and after',
    inputs: [normal(2, 3, 2)],
    build: (g, x) => g.pad(x!, [0, 1, 2], [1, 0, 3]),
  },
  ...(
    [
      [
        [3, 1],
        [2, 3, 4],
      ],
      [[], [2, 3]],
      [
        [1, 3, 1, 1],
        [2, 3, 2, 2],
      ],
    ] as const
  ).map(
    ([from, to]): OpCase => ({
      op: 'expand',
      name: `[${from}] to [${to}]`,
      inputs: [normal(...from)],
      build: (g, x) => g.expand(x!, to),
    }),
  ),
  ...([[0], [1], [2], [0, 2], [0, 1, 2]] as const).map(
    (axes): OpCase => ({
      op: 'sum',
      name: `over [${axes}]`,
      inputs: [normal(2, 3, 4)],
      build: (g, x) => g.sum(x!, axes),
    }),
  ),
];

const imageCases: OpCase[] = (
  [
    ['twice the size', [2, 3, 3, 4], [6, 8]],
    ['to an odd size', [1, 2, 4, 3], [7, 5]],
    ['one side only', [1, 2, 3, 3], [3, 9]],
  ] as const
).map(([name, shape, [height, width]]) => ({
  op: 'upsampleNearest',
  name,
  inputs: [normal(...shape)],
  build: (g, x) => g.upsampleNearest(x!, height, width),
}));

const lookupCases: OpCase[] = [
  {
    op: 'gather',
    name: 'a batch of sequences, rows repeated',
    inputs: [normal(5, 3), ids(5, 2, 6)],
    build: (g, table, rows) => g.gather(table!, rows!),
  },
  {
    op: 'gather',
    name: 'a few rows of many',
    inputs: [normal(40, 4), ids(40, 3)],
    build: (g, table, rows) => g.gather(table!, rows!),
  },
  {
    op: 'barrier',
    name: 'passes its first input',
    inputs: [normal(2, 3)],
    build: (g, x) => g.barrier(x!, g.exp(x!)),
  },
  {
    op: 'barrier',
    name: 'waits for a scalar',
    inputs: [normal(3, 2)],
    build: (g, x) => g.barrier(x!, g.reshape(g.sum(x!, [0, 1]), [])),
  },
];

export const opCases: readonly OpCase[] = [
  ...(['add', 'sub', 'mul', 'div'] as const).flatMap(binaryCases),
  ...selectCases,
  ...(['exp', 'sqrt', 'sigmoid', 'silu', 'gelu', 'quickGelu'] as const).flatMap(unaryCases),
  ...placedCases,
  ...matmulCases,
  ...linearCases,
  ...convCases,
  ...attentionCases,
  ...normCases,
  ...shapeCases,
  ...imageCases,
  ...lookupCases,
];
