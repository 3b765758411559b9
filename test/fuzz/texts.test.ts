/** @file Captions of any bytes, and any text on its way to the text encoder. */

import { writeFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { composeCaption } from '../../src/data/caption.ts';
import { readCaptionFile } from '../../src/data/caption-file.ts';
import { createClipTokenizer } from '../../src/models/clip-tokenizer.ts';
import { Rng } from '../../src/tensor/rng.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';
import { damagedBytes, oddText, pick } from './damage.ts';
import { guardCases, runCases } from './survives.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const at = temporaryFolder();
guardCases();

const captions = [
  'a zibbo, teal and orange, on a hill',
  '\ufeffein Käse,\r\nzweite Zeile',
  '한국어, 日本語',
  ',,,',
];

test('caption files', async () => {
  const { read, refused } = await runCases('captions', 1500, async (i) => {
    const rng = new Rng(7, 'caption', i);
    const path = at(`${i}.txt`);
    const text = Buffer.from(pick(rng, captions), rng.integer(8) ? 'utf8' : 'utf16le');
    writeFileSync(path, damagedBytes(rng, text));
    const caption = await readCaptionFile(path);
    expect(caption).toBe(caption.trim());
    expect(caption).not.toBe('');
  });
  expect(read).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(200);
});

test('captions to tokens', async () => {
  const tokenizer = createClipTokenizer();
  const { read } = await runCases('tokens', 1500, (i) => {
    const rng = new Rng(7, 'tokens', i);
    const sample = { caption: oddText(rng, rng.integer(60)), triggerWord: rng.integer(2) ? oddText(rng, 5) : null };
    const options = { shuffleTags: i % 2 === 0, keepTokens: rng.integer(3), captionSeparator: pick(rng, [',', ' ', '.', 'e', '||']), emphasis: i % 3 === 0, captionDropout: 0.1, variants: i % 5 === 0 ? 4 : null };
    const text = composeCaption(sample, options, 1, { epoch: 0, position: i, sample: i });
    const { ids, weights } = tokenizer.chunk(text, { emphasis: options.emphasis });
    if (!weights.every((weight) => !Number.isNaN(weight))) expect.fail(`case ${i}: ${JSON.stringify(text)}`);
    if (!ids.every((id) => Number.isInteger(id) && id >= 0 && id < 49408)) expect.fail(`case ${i}: ${JSON.stringify(text)}`);
  }); // biome-ignore format: one line a draw
  expect(read).toBe(1500);
});
