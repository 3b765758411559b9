/** @file Gradient checkpointing: the same numbers, and nothing kept that was to be recomputed. */

import { expect, test } from 'vitest';
import { grad } from '../../../src/graph/autodiff/grad.ts';
import { GraphBuilder } from '../../../src/graph/graph-builder.ts';
import type { Graph, Node } from '../../../src/graph/ops.ts';
import { rematerialize } from '../../../src/graph/passes/rematerialize.ts';
import { runPasses } from '../../../src/graph/passes/run-passes.ts';
import { verifyGraph } from '../../../src/graph/verify-graph.ts';
import { Rng } from '../../../src/tensor/rng.ts';
import { type Shape, sizeOf } from '../../../src/tensor/shape.ts';
import { f32, i32, type Tensor } from '../../../src/tensor/tensor.ts';
import { executors, parametersFrom } from '../../helpers/executors.ts';

interface Network {
  readonly graph: Graph;
  readonly loss: Node;
  readonly values: Readonly<Record<string, Tensor<'f32' | 'i32'>>>;
}

/**
 * A small UNet: a down block whose skip value is read again by the up block, a block with
 * attention to a context, a vector added in several blocks, and tokens looked up in a segment.
 */
function network(): Network {
  const g = new GraphBuilder();
  const values: Record<string, Tensor<'f32' | 'i32'>> = { ids: i32([1, 3], [2, 0, 5]) };
  const draw = (name: string, shape: Shape) => {
    const scale = 1 / Math.sqrt(sizeOf(shape.slice(1)));
    const numbers = new Rng(5, name).normals(sizeOf(shape)).map((v) => v * scale);
    values[name] = f32(shape, numbers);
  };
  const weight = (name: string, ...shape: number[]) => {
    draw(name, shape);
    return g.parameter(name, shape);
  };
  const trained: Node[] = [];
  const adapter = (name: string, x: Node, size: number, rank = 2) => {
    const names = [`${name}.down`, `${name}.up`] as const;
    draw(names[0], [rank, size]);
    draw(names[1], [size, rank]);
    const [down, up] = [g.input(names[0], [rank, size]), g.input(names[1], [size, rank])];
    trained.push(down, up);
    return g.linear(g.linear(x, down), up);
  };
  const dense = (name: string, x: Node, size: number) =>
    g.add(
      g.linear(x, weight(`${name}.weight`, size, size), weight(`${name}.bias`, size)),
      adapter(name, x, size),
    );

  draw('image', [1, 2, 4, 4]);
  draw('time', [1, 4]);
  const image = g.input('image', [1, 2, 4, 4]);
  const ids = g.input('ids', [1, 3], 'i32');

  const context = g.segment(() => {
    const embedded = g.gather(weight('tokens', 6, 4), ids);
    return g.gelu(dense('text', g.silu(embedded), 4));
  });
  const time = g.segment(() => g.silu(dense('time', g.silu(g.input('time', [1, 4])), 4)));
  const resnet = (name: string, x: Node) => {
    const normed = g.groupNorm(x, weight(`${name}.scale`, 4), weight(`${name}.shift`, 4), 2, 1e-5);
    const moved = g.conv2d(g.silu(normed), weight(`${name}.conv`, 4, 4, 3, 3), undefined, {
      padding: 1,
    });
    const timed = g.add(moved, g.reshape(dense(`${name}.time`, time, 4), [1, 4, 1, 1]));
    return g.add(g.silu(timed), x);
  };
  const skip = g.segment(() =>
    resnet('down', g.conv2d(image, weight('in', 4, 2, 3, 3), weight('in.bias', 4), { padding: 1 })),
  );
  const middle = g.segment(() => {
    const small = g.conv2d(skip, weight('shrink', 4, 4, 3, 3), undefined, {
      stride: 2,
      padding: 1,
    });
    const sequence = g.transpose(g.reshape(resnet('middle', small), [1, 4, 4]), [0, 2, 1]);
    const attended = g.attention(
      dense('q', sequence, 4),
      dense('k', context, 4),
      dense('v', context, 4),
      { heads: 2, scale: 0.7, causal: false },
    );
    return g.reshape(g.transpose(g.add(attended, sequence), [0, 2, 1]), [1, 4, 2, 2]);
  });
  const out = g.segment(() =>
    resnet('up', g.add(g.upsampleNearest(middle, 4, 4), g.scale(skip, 0.5))),
  );
  const loss = g.reshape(g.mean(g.square(out), [0, 1, 2, 3]), []);
  const gradients = grad(g, loss, trained);
  const outputs: Record<string, Node> = { loss };
  for (const [i, gradient] of gradients.entries()) outputs[`d${i}`] = gradient!;
  return { graph: g.build(outputs), loss, values };
}

function ancestorsOf(loss: Node): Set<Node> {
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    node.inputs.forEach(visit);
  };
  visit(loss);
  return seen;
}

/** Forward nodes of a segment that another forward node outside of it reads. */
function leavingNodes(forward: ReadonlySet<Node>): Set<Node> {
  const leaving = new Set<Node>();
  for (const node of forward) {
    for (const input of node.inputs) if (input.segment !== node.segment) leaving.add(input);
  }
  return leaving;
}

const { graph, loss, values } = network();
const checkpointed = rematerialize(graph, loss);
const forward = ancestorsOf(loss);
const leaving = leavingNodes(forward);

test('the graph is well formed, with ids in order and without a node twice', () => {
  verifyGraph(checkpointed);
  const ids = checkpointed.nodes.map(({ id }) => id);
  expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
});

/** Backward reads of a segment's inside, of a graph that may have gone through passes. */
function keptInside(from: Graph): string[] {
  const [head] = [...from.outputs.values()];
  const ahead = ancestorsOf(head!);
  const leaves = leavingNodes(ahead);
  const interior = (node: Node) =>
    node.segment !== undefined && ahead.has(node) && !leaves.has(node);
  return from.nodes
    .filter((node) => !ahead.has(node))
    .flatMap((node) => node.inputs.filter(interior).map((input) => `${node.op} < ${input.op}`));
}

test('the backward pass reads the inside of no segment', () => {
  expect(keptInside(graph).length).toBeGreaterThan(20);
  // The looked-up rows are smaller than the table: they stay.
  expect(keptInside(checkpointed)).toEqual(['barrier < gather']);
  // Nor do passes merge what was taken apart.
  expect(keptInside(runPasses(checkpointed, { verify: true }))).toEqual(['barrier < gather']);
});

test('forward nodes are as they were', () => {
  expect(checkpointed.nodes.filter((node) => forward.has(node))).toEqual(
    graph.nodes.filter((node) => forward.has(node)),
  );
});

test('a recomputed segment starts only after the gradient before it', () => {
  const barriers = checkpointed.nodes.filter((node) => node.op === 'barrier');
  expect(barriers.length).toBeGreaterThan(0);
  for (const barrier of barriers) {
    const [value, after] = barrier.inputs;
    expect(forward.has(value)).toBe(true);
    expect(forward.has(after), 'waits for a backward node').toBe(false);
  }
  // One barrier a segment for each value that enters it.
  const entries = barriers.map(({ inputs: [value, after] }) => `${value.id} ${after.id}`);
  expect(new Set(entries).size).toBe(entries.length);
  // A recomputed node depends on a barrier, or it would run in the forward pass.
  const waiting = new Set<Node>();
  for (const node of checkpointed.nodes) {
    if (node.op === 'barrier' || node.inputs.some((input) => waiting.has(input))) waiting.add(node);
    const recomputed = node.segment !== undefined && !forward.has(node);
    if (recomputed) expect(waiting, node.op).toContain(node);
  }
});

test('what leaves a segment is not computed again', () => {
  expect([...leaving].filter(({ segment }) => segment !== undefined).length).toBe(5);
  const segment = graph.nodes.find(({ op }) => op === 'conv2d')?.segment;
  const adds = checkpointed.nodes.filter((node) => node.op === 'add' && node.segment === segment);
  const twins = adds.filter((node) => !forward.has(node));
  // The down block ends in an addition, whose value the others read.
  expect(twins.length).toBe(adds.length - twins.length - 1);
});

test('without segments nothing changes but ids', () => {
  const g = new GraphBuilder();
  const x = g.input('x', [3]);
  const plain = g.sum(g.silu(g.exp(x)), [0]);
  const [dx] = grad(g, plain, [x]);
  const before = g.build({ plain, dx: dx! });
  const kinds = ({ nodes }: Graph) => nodes.map(({ op }) => op);
  expect(kinds(rematerialize(before, plain))).toEqual(kinds(before));
});

test.each(executors)('$name computes the same numbers', async ({ create }) => {
  const executor = create(parametersFrom(values));
  const fed = graph.nodes.flatMap((node) => (node.op === 'input' ? [node.attrs.name] : []));
  const feeds = Object.fromEntries(fed.map((name) => [name, values[name]!]));
  const run = async (which: Graph) => (await executor.compile(which)).run(feeds);
  const [plain, recomputed] = [await run(graph), await run(checkpointed)];
  expect(Object.keys(recomputed).sort()).toEqual(Object.keys(plain).sort());
  for (const [name, { data }] of Object.entries(plain)) {
    expect(
      data.some((value) => value !== 0),
      name,
    ).toBe(true);
    expect(recomputed[name]!.data, name).toEqual(data);
  }
  await executor.dispose();
});
