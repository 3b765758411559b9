/** @file What `inspect` tells of files of every kind. */

import { beforeAll, describe, expect, test, vi } from 'vitest';
import { kohyaMetadata } from '../../src/export/kohya-metadata.ts';
import { writeAdapter } from '../../src/export/write-adapter.ts';
import { Rng } from '../../src/tensor/rng.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { f32 } from '../../src/tensor/tensor.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { plainRun } from '../export/run-description.ts';
import { writeTinyModel } from '../helpers/tiny-models.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { run } from './recording-terminal.ts';

vi.setConfig({ testTimeout: 30_000 });

const at = temporaryFolder();
const draw = (shape: Shape, name = 'x') => f32(shape, new Rng(1, name).normals(sizeOf(shape)));

/** A LoRA as our own training writes it. */
async function writeOurs(path: string): Promise<void> {
  const metadata = kohyaMetadata(plainRun, { steps: 5, epoch: 1, finishedAt: 1722503600.5 });
  const modules = [
    {
      name: 'lora_te_text_model_encoder_layers_0_mlp_fc1',
      down: draw([2, 3], 'a'),
      up: f32([4, 2]),
      alpha: 1,
    },
    {
      name: 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k',
      down: draw([2, 768], 'b'),
      up: draw([4, 2], 'c'),
      alpha: 2,
    },
  ];
  await writeAdapter({ path, modules, metadata, precision: 'f32' });
}

async function writeShapes(path: string, shapes: Readonly<Record<string, Shape>>, metadata = {}) {
  const tensors = Object.entries(shapes).map(([name, shape]) => [name, f32(shape)] as const);
  await writeSafetensors(path, new Map(tensors), new Map(Object.entries(metadata)));
}

/** ‖scale · up · down‖, multiplied out. */
function norm(up: ArrayLike<number>, down: ArrayLike<number>, rank: number, scale: number): number {
  const [outs, ins] = [up.length / rank, down.length / rank];
  let sum = 0;
  for (let o = 0; o < outs; o++) {
    for (let i = 0; i < ins; i++) {
      let value = 0;
      for (let r = 0; r < rank; r++) value += up[o * rank + r]! * down[r * ins + i]!;
      sum += value ** 2;
    }
  }
  return Math.sqrt(sum) * scale;
}

describe('a LoRA of ours', () => {
  beforeAll(() => import('../../src/cli/inspect/run-inspect.ts'));

  test('rank, alpha, layers, base, trigger word and whether its hash holds', async () => {
    await writeOurs(at('a.safetensors'));
    const { code, out, err } = await run('inspect', at('a.safetensors'));
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('LoRA (kohya names)');
    expect(out).toMatch(/^for +Stable Diffusion 1\.x$/m);
    expect(out).toMatch(/rank +2$/m);
    expect(out).toMatch(/alpha +(1|2) \(1 layer\), (1|2) \(1 layer\)$/m);
    expect(out).toMatch(/text encoder +feed-forward +1 +14 +0, not trained/);
    expect(out).toMatch(/UNet +cross-attention +1 +1\.54 k +\d/);
    expect(out).toMatch(/trigger word +zoe$/m);
    expect(out).toContain('10_zoe: 20 images, 10 times each');
    expect(out).toMatch(/captions +.*zoe/);
    expect(out).toContain('the data is as its hash says');
  });

  test('--json has everything, with norms that are those of the product', async () => {
    await writeOurs(at('a.safetensors'));
    const { out } = await run('inspect', at('a.safetensors'), '--json', '--tensors');
    const file = JSON.parse(out);
    expect(file).toMatchObject({ kind: 'lora', family: 'Stable Diffusion 1.x', hashMatches: true });
    expect(file.metadata.ss_network_dim).toBe('16');
    expect(file.tensors).toHaveLength(6);
    const [text, unet] = file.adapter.modules;
    expect(text).toMatchObject({ part: 'text encoder', rank: 2, alpha: 1, norm: 0 });
    expect(unet).toMatchObject({ part: 'UNet', layer: 'cross-attention', rank: 2, alpha: 2 });
    const [up, down] = [draw([4, 2], 'c').data, draw([2, 768], 'b').data];
    expect(unet.norm).toBeCloseTo(norm(up, down, 2, 1), 4);
  });

  test('--metadata and --modules print what the overview leaves out', async () => {
    await writeOurs(at('a.safetensors'));
    const { out } = await run('inspect', at('a.safetensors'), '--metadata', '--modules');
    expect(out).toContain('ss_noise_offset: None');
    expect(out).toMatch(/lora_te_text_model_encoder_layers_0_mlp_fc1 +2 +1 +0/);
  });
});

describe('files of others', () => {
  const unet = 'unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v';

  test('PEFT’s names, without alpha, for SDXL by the size of its text', async () => {
    const shapes = { [`${unet}.lora_A.weight`]: [8, 2048], [`${unet}.lora_B.weight`]: [16, 8] };
    await writeShapes(at('peft.safetensors'), shapes);
    const { out } = await run('inspect', at('peft.safetensors'));
    expect(out).toContain('LoRA (peft names)');
    expect(out).toMatch(/^for +SDXL$/m);
    expect(out).toMatch(/alpha +none, as rank/);
    expect(out).toMatch(/UNet +cross-attention +1/);
  });

  test('LoHa, and SDXL’s second text encoder', async () => {
    const name = 'lora_te2_text_model_encoder_layers_0_mlp_fc1';
    const shapes = Object.fromEntries(
      ['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b'].map((part) => [
        `${name}.${part}`,
        part.endsWith('a') ? [16, 4] : [4, 8],
      ]),
    );
    await writeShapes(at('loha.safetensors'), shapes);
    const { out } = await run('inspect', at('loha.safetensors'));
    expect(out).toContain('LoHa');
    expect(out).toMatch(/text encoder 2 +feed-forward/);
    expect(out).toMatch(/rank +4$/m);
  });

  test.each([
    [{ emb_params: [4, 768] }, 'textual-inversion embedding'],
    [{ 'first_stage_model.decoder.conv_in.weight': [8, 4, 3, 3] }, 'autoencoder (VAE) alone'],
    [{ 'conditioner.embedders.1.model.ln_final.weight': [4] }, 'SDXL checkpoint'],
    [{ something: [4] }, 'no model that is known here'],
  ] as const)('%j', async (shapes, kind) => {
    await writeShapes(at('file.safetensors'), shapes);
    const { code, out } = await run('inspect', at('file.safetensors'));
    expect(code).toBe(0);
    expect(out).toContain(kind);
  });

  test('a state of ours', async () => {
    await writeShapes(
      at('s.sdlstate'),
      { 'lora.unet': [4] },
      { 'sdl-train.state': '1', step: '7' },
    );
    const { out } = await run('inspect', at('s.sdlstate'));
    expect(out).toContain('state of a run of sdl-train');
    expect(out).toMatch(/step +7$/m);
  });

  test('a rank that has no values', async () => {
    const name = 'lora_unet_mid_block_attentions_0_proj_in';
    const shapes = { [`${name}.lora_down.weight`]: [1e9, 0], [`${name}.lora_up.weight`]: [0, 1e9] };
    await writeShapes(at('empty.safetensors'), shapes);
    const { code, out } = await run('inspect', at('empty.safetensors'));
    expect(code).toBe(0);
    expect(out).toContain('0, not trained');
  });

  test('damage and lies: NaN, a wrong hash, metadata that would move the cursor', async () => {
    const name = 'lora_unet_mid_block_attentions_0_proj_in';
    const tensors = new Map([
      [`${name}.lora_down.weight`, f32([2, 4], [1, 2, 3, 4, 5, 6, 7, 8])],
      [`${name}.lora_up.weight`, f32([3, 2], [1, 2, Number.NaN, 4, 5, 6])],
    ]);
    const metadata = new Map([
      ['sshs_model_hash', '00'.repeat(32)],
      ['modelspec.title', 'a\u001b[2Jb\nc'],
    ]);
    await writeSafetensors(at('bad.safetensors'), tensors, metadata);
    const { out } = await run('inspect', at('bad.safetensors'), '--metadata');
    expect(out).toContain('NaN or infinite in 1 layer');
    expect(out).toContain('does not match its hash');
    expect(out.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    const json = await run('inspect', at('bad.safetensors'), '--json');
    expect(JSON.parse(json.out).adapter.modules[0].norm).toBe('NaN');
  });
});

test('a file that is none ends with 1 and one line', async () => {
  const { code, out, err } = await run('inspect', 'package.json');
  expect([code, out]).toEqual([1, '']);
  expect(err).toMatch(/^package\.json: this is not a safetensors file.*\n$/);
});

test.each([
  ['sd2', 'Stable Diffusion 2.x', /text encoder +2 layers of 32/],
  ['sdxl', 'SDXL', /second encoder +2 layers of 32/],
] as const)('a checkpoint of %s is told with its sizes', async (family, name, sizes) => {
  const path = at(`${family}.safetensors`);
  await writeTinyModel(path, family);
  const { code, out } = await run('inspect', path);
  expect(code).toBe(0);
  expect(out).toMatch(new RegExp(`family +${name.replaceAll('.', '\\.')}`));
  expect(out).toMatch(sizes);
});
