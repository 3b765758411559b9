/** @file The card and the picture beside an adapter. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { writeCard, writePreview } from '../../src/export/sidecars.ts';
import { UserError } from '../../src/tensor/user-error.ts';
import { temporaryFolder } from '../weights/temporary-folder.ts';

const at = temporaryFolder();

test('a new card', async () => {
  const path = await writeCard(at('a.v1.safetensors'), {
    sdVersion: 'SD1',
    activationText: 'zoé style',
    preferredWeight: 0.8,
  });
  expect(path).toBe(at('a.v1.json'));
  expect(readFileSync(path, 'utf8')).toBe(
    '{\n    "description": "",\n    "sd version": "SD1",\n    "activation text": "zoé style",\n' +
      '    "preferred weight": 0.8,\n    "negative text": "",\n    "notes": ""\n}',
  );
  expect(readdirSync(at())).toEqual(['a.v1.json']);
});

test('a card that a user has edited', async () => {
  writeFileSync(
    at('a.json'),
    '\uFEFF{"notes": "mine", "extra": {"x": [1]}, "preferred weight": 0.6, "sd version": "Unknown"}',
  );
  await writeCard(at('a.safetensors'), { sdVersion: 'SDXL' });
  expect(JSON.parse(readFileSync(at('a.json'), 'utf8'))).toEqual({
    notes: 'mine',
    extra: { x: [1] },
    'preferred weight': 0.6,
    'sd version': 'SDXL',
    description: '',
    'activation text': '',
    'negative text': '',
  });
});

test.each(['{broken', '[1]', 'null', '""'])(
  'a file that is no card is left alone: %s',
  async (text) => {
    writeFileSync(at('a.json'), text);
    await expect(writeCard(at('a.safetensors'), {})).rejects.toThrow(UserError);
    await expect(writeCard(at('a.safetensors'), {})).rejects.toThrow(at('a.json'));
    expect(readFileSync(at('a.json'), 'utf8')).toBe(text);
  },
);

test('a picture', async () => {
  const png = Buffer.from('\x89PNG\r\n\x1a\nrest', 'latin1');
  expect(await writePreview(at('a.safetensors'), png)).toBe(at('a.png'));
  expect(readFileSync(at('a.png')).equals(png)).toBe(true);
  await expect(writePreview(at('b.safetensors'), Buffer.from('JFIF'))).rejects.toThrow('internal');
});
