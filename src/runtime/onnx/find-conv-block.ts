/**
 * @file ONNX Runtime's blocked convolution (its operations of the domain com.microsoft.nchwc, which
 * its own optimizer inserts) is a tenth faster than the plain one, but how many channels make a block
 * depends on the processor, and no interface tells. So we try: a small convolution must come out as
 * the plain one does.
 */

import { InferenceSession, Tensor } from 'onnxruntime-node';
import { arrangeKernel } from './arrange-kernel.ts';
import { OnnxEmitter } from './onnx-emitter.ts';
import { encodeOnnxModel } from './onnx-proto.ts';
import { blockedConvolution } from './rules/convolution.ts';

/** Channels of a 512-bit and of a 256-bit register. */
const candidates = [16, 8] as const;
/** A multiple of every candidate. */
const channels = 32;
const side = 5;
const tolerance = 1e-4;

/** Values without a pattern that a wrong layout could keep. */
const scattered = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * i));

async function agrees(block: number): Promise<boolean> {
  const emitter = new OnnxEmitter();
  const shape = [channels, channels, 3, 3] as const;
  const window = { stride: 1, pads: [1, 1, 1, 1] } as const;
  const plain = emitter.emit('Conv', ['x', 'w'], { attributes: { pads: window.pads } });
  const blocked = blockedConvolution(emitter, ['x', 'arranged'], shape, window);
  emitter.result('plain', plain);
  emitter.result('blocked', blocked);
  const image = [1, channels, side, side];
  const value = (name: string, dims: readonly number[]) =>
    ({ name, type: 'f32', shape: dims }) as const;
  const model = encodeOnnxModel({
    nodes: emitter.nodes,
    initializers: emitter.initializers,
    inputs: [value('x', image), value('w', shape), value('arranged', shape)],
    outputs: [value('plain', image), value('blocked', image)],
  });
  const session = await InferenceSession.create(model, {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'disabled',
    intraOpNumThreads: 1,
    // An operation that is missing is no news.
    logSeverityLevel: 4,
  });
  const weight = scattered(channels * channels * 9);
  const results = await session.run({
    x: new Tensor('float32', scattered(channels * side * side), image),
    w: new Tensor('float32', weight, [...shape]),
    arranged: new Tensor('float32', arrangeKernel(weight, shape, { flipped: false, block }), [
      ...shape,
    ]),
  });
  await session.release();
  const expected = results['plain']!.data as Float32Array;
  const found = results['blocked']!.data as Float32Array;
  return expected.every((x, i) => Math.abs(x - found[i]!) <= tolerance * (1 + Math.abs(x)));
}

let known: Promise<number> | undefined;

async function tryAll(): Promise<number> {
  for (const block of candidates) {
    try {
      if (await agrees(block)) return block;
    } catch {
      return 1;
    }
  }
  return 1;
}

/** Channels of a block on this machine, 1 where there is no blocked convolution. Tried once. */
export function findConvBlock(): Promise<number> {
  known ??= tryAll();
  return known;
}
