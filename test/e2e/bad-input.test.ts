/** @file What users get wrong: one clear line with the file and what to do, and nothing half-written. */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { f32 } from '../../src/tensor/tensor.ts';
import { writeSafetensors } from '../../src/weights/safetensors-writer.ts';
import { run } from '../cli/recording-terminal.ts';
import { tinyConfig, writePictures, writeTinyCheckpoint, writeTinyRun } from '../cli/tiny-run.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let folder = '';
const at = (...names: string[]) => join(folder, ...names);
const train = (...more: string[]) => run('--config', at('run.yaml'), ...more);
const withBase = (name: string) => train('--set', `base=${at(name)}`);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sdl-train-bad-'));
  await writeTinyRun(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  for (const name of ['images', 'out']) rmSync(at(name), { recursive: true, force: true });
  await writePictures(at('images'));
  writeFileSync(at('run.yaml'), tinyConfig(folder));
});

/** Refused with one line that matches, and nothing but the log and the cache was written. */
function expectRefusal(
  { code, err }: { readonly code: number; readonly err: string },
  line: RegExp,
  expected = 1,
): void {
  const lines = err
    .split('\n')
    .filter((text) => text !== '' && !/^((reading|encoding|compiling) |base: )/.test(text));
  expect(lines).toEqual([expect.stringMatching(line)]);
  expect(code).toBe(expected);
  const written = existsSync(at('out'))
    ? readdirSync(at('out'), { recursive: true, encoding: 'utf8' })
    : [];
  expect(written.filter((name) => /\.tmp$|\.safetensors$|\.sdlstate/.test(name))).toEqual([]);
}

test('a missing data set', async () => {
  rmSync(at('images'), { recursive: true });
  expectRefusal(
    await train(),
    /run\.yaml:9: data\.folders\[0\]\.path: no such folder: .*images/,
    2,
  );
});

test('an empty data set', async () => {
  rmSync(at('images'), { recursive: true });
  mkdirSync(at('images'));
  expectRefusal(await train(), /images: no images in it; put \.jpg, \.png/);
});

test('an unreadable image', async () => {
  writeFileSync(at('images', '2.png'), 'no picture at all');
  expectRefusal(await train(), /2\.png: is damaged or no picture; expected JPEG, PNG/);
});

test('a truncated image', async () => {
  const path = at('images', '2.png');
  truncateSync(path, readFileSync(path).length - 30);
  expectRefusal(await train(), /2\.png: the picture is damaged or cut short .*save it again/);
});

test('an image without a caption', async () => {
  rmSync(at('images', '2.txt'));
  expectRefusal(await train(), /2\.png: no caption; write one in 2\.txt beside it/);
});

test('an empty caption file', async () => {
  writeFileSync(at('images', '2.txt'), ' \n\n');
  expectRefusal(await train(), /2\.txt: the caption file is empty; write a caption in it/);
});

test('a caption that is not UTF-8', async () => {
  writeFileSync(at('images', '2.txt'), Buffer.from('caf\xe9', 'latin1'));
  expectRefusal(await train(), /2\.txt: the caption is not UTF-8 text .*save it again as UTF-8/);
});

test('a pickle', async () => {
  writeFileSync(at('model.ckpt'), Buffer.concat([Buffer.from('PK\x03\x04'), Buffer.alloc(99)]));
  expectRefusal(await withBase('model.ckpt'), /model\.ckpt: this is a pickle.*[Cc]onvert/);
});

test('a truncated checkpoint', async () => {
  const bytes = readFileSync(at('base.safetensors'));
  writeFileSync(at('cut.safetensors'), bytes.subarray(0, bytes.length - 1000));
  expectRefusal(await withBase('cut.safetensors'), /cut\.safetensors: the file is cut off: .*1000/);
});

test('a hostile header', async () => {
  const header = Buffer.from(
    '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}',
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(at('evil.safetensors'), Buffer.concat([length, header, Buffer.alloc(4)]));
  expectRefusal(await withBase('evil.safetensors'), /evil\.safetensors: the safetensors header is/);
  length.writeBigUInt64LE(2n ** 63n);
  writeFileSync(at('evil.safetensors'), Buffer.concat([length, header]));
  expectRefusal(await withBase('evil.safetensors'), /evil\.safetensors: this is not a safetensors/);
});

test('a LoRA given as base', async () => {
  const name = 'lora_unet_mid_block_attentions_0_proj_in';
  const tensors = new Map([
    [`${name}.lora_down.weight`, f32([1, 4])],
    [`${name}.lora_up.weight`, f32([4, 1])],
  ]);
  await writeSafetensors(at('lora.safetensors'), tensors);
  expectRefusal(await withBase('lora.safetensors'), /lora\.safetensors: this is a LoRA .*give the/);
});

test('an SDXL checkpoint without its UNet', async () => {
  const tensors = new Map([
    ['conditioner.embedders.1.model.ln_final.weight', f32([4])],
    ['first_stage_model.decoder.conv_in.weight', f32([1])],
  ]);
  await writeSafetensors(at('xl.safetensors'), tensors);
  expectRefusal(
    await withBase('xl.safetensors'),
    /xl\.safetensors: the tensor model\.diffusion_model\..* is missing/,
  );
});

test('an inpainting checkpoint', async () => {
  await writeTinyCheckpoint(at('inpainting.safetensors'), (tensors) => {
    tensors.set('model.diffusion_model.input_blocks.0.0.weight', f32([32, 9, 3, 3]));
  });
  expectRefusal(
    await withBase('inpainting.safetensors'),
    /inpainting\.safetensors: this is an inpainting checkpoint, whose UNet takes 9 channels; .*give the plain model/,
  );
});

test('an unknown key', async () => {
  writeFileSync(at('run.yaml'), `${tinyConfig(folder)}  threds: 2\n`);
  expectRefusal(await train(), /run\.yaml:\d+: .*threds.*did you mean device\.threads\?/, 2);
});

test('NaN in a weight', async () => {
  const key = 'model.diffusion_model.out.2.weight';
  await writeTinyCheckpoint(at('nan.safetensors'), (tensors) => {
    (tensors.get(key)!.data as Uint16Array)[3] = 0x7e00;
  });
  const refusal = /nan\.safetensors: the tensor model\.diffusion_model\.out\.2\.weight holds NaN/;
  expectRefusal(await withBase('nan.safetensors'), refusal);
});

test('an output folder that cannot be made', async () => {
  writeFileSync(at('file'), '');
  const refused = await train('--set', `output.dir=${at('file', 'inner')}`);
  expectRefusal(refused, /cannot write .*file.*: a part of this path is a file/);
});

/** What `check` complains of, its status with it. */
async function check(...more: string[]) {
  const { code, err } = await run('check', '--config', at('run.yaml'), ...more);
  const problems = err.slice(err.indexOf('problem'));
  return { code, problems };
}

test.each([
  ['a damaged picture', '2.png', 'no picture', /2\.png: is damaged or no picture/],
  ['an empty caption', '2.txt', '\n', /2\.txt: the caption file is empty/],
  ['a caption of commas', '2.txt', ', ,', /2\.txt: the caption file has nothing but commas/],
  ['a caption that is not UTF-8', '2.txt', '\xe9', /2\.txt: the caption is not UTF-8/],
])('%s among the prior pictures, for train and for check', async (_, name, content, line) => {
  await writePictures(at('prior'));
  writeFileSync(at('prior', name), Buffer.from(content, 'latin1'));
  const folders = ['images', 'prior'].map(
    (folder) => `{path: ${JSON.stringify(at(folder))}, prior: ${folder === 'prior'}}`,
  );
  const set = ['--set', `data.folders=[${folders}]`];
  expectRefusal(await train(...set), line);
  const { code, problems } = await check(...set);
  expect(problems).toMatch(line);
  expect(code).toBe(1);
  rmSync(at('prior'), { recursive: true });
});

test('what is in the adapter’s way is told before anything is trained', async () => {
  mkdirSync(at('out', 'zibbo.safetensors'), { recursive: true });
  const taken = /zibbo\.safetensors: is a folder, so that the adapter cannot have this name/;
  const refused = await train();
  expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(taken)]);
  expect(await check()).toEqual({ code: 1, problems: expect.stringMatching(taken) });

  rmSync(at('out', 'zibbo.safetensors'), { recursive: true });
  writeFileSync(at('out', 'zibbo.json'), 'notes');
  const card = /zibbo\.json: this is not a JSON object, .*mend or remove it/;
  expectRefusal(await train(), card);
  expect(await check()).toEqual({ code: 1, problems: expect.stringMatching(card) });

  const set = ['--set', `output.dir=${at('run.yaml')}`];
  expect(await check(...set)).toEqual({
    code: 1,
    problems: expect.stringMatching(/run\.yaml: is a file, .*choose another output\.dir/),
  });
});

test('a configuration that is a folder', async () => {
  const { code, err } = await run('--config', folder);
  expect([code, err]).toEqual([2, expect.stringMatching(/: a folder; expected a YAML file/)]);
});
