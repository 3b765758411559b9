/** @file CLIP's ids, captions in chunks, and what happens to odd text. */

import { expect, test } from 'vitest';
import {
  clipBos,
  clipChunkTokens,
  clipEos,
  clipPositions,
  createClipTokenizer,
} from '../../src/models/clip-tokenizer.ts';
import { loadClipVocabulary } from '../../src/models/tokenizer-vocabulary.ts';

const tokenizer = createClipTokenizer();

// From the Rust library `tokenizers` with OpenAI's merges, after Python's `ftfy.fix_text`.
const known: readonly (readonly [string, readonly number[]])[] = [
  ['a photo of a cat', [320, 1125, 539, 320, 2368]],
  ['Hi there', [1883, 997]],
  [
    "A PHOTO, of a Cat's 123 dogs!!!",
    [320, 1125, 267, 539, 320, 2368, 568, 272, 273, 274, 3255, 995],
  ],
  [
    "it's we'll they've I'm he'd don't",
    [585, 568, 649, 1342, 889, 1200, 328, 880, 797, 1896, 847, 713],
  ],
  [
    '\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u732b',
    [39121, 44353, 34002, 252, 21575, 2429, 228, 47121, 32421, 486, 163, 234, 360],
  ],
  [
    '\ud83c\udf89\ud83c\udf89 party \ud83d\udc69\u200d\ud83d\udc69\u200d\ud83d\udc67 emoji',
    [13450, 1580, 26304, 26304, 964, 356, 16327],
  ],
  ['', []],
  ['   ', []],
  [
    '\u00fcn\u00efc\u00f6d\u00e9 na\u00efve caf\u00e9 e\u0301',
    [6522, 77, 35689, 66, 7255, 67, 4166, 1097, 35689, 563, 15304, 4166],
  ],
  [
    'masterpiece, best quality, (1girl:1.2), <lora:x:1>',
    [
      12066, 267, 949, 3027, 267, 263, 272, 1611, 281, 272, 269, 273, 2361, 283, 2179, 320, 281,
      343, 281, 272, 285,
    ],
  ],
  [
    'ALL CAPS \u0130STANBUL \u03a3\u039f\u03a6\u039f\u03a3 \u00df',
    [615, 23185, 328, 16384, 11231, 139, 225, 138, 123, 139, 228, 138, 123, 139, 480, 127, 509],
  ],
  [
    '1234567890 3.14 \u00bd \u00b2 \u2167 \u0663',
    [
      272, 273, 274, 275, 276, 277, 278, 279, 280, 271, 274, 269, 272, 275, 33613, 41175, 158, 227,
      371, 149, 352,
    ],
  ],
  [
    '\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440',
    [26302, 16370, 29503, 110, 22176, 141, 480, 38018, 16701, 141, 478],
  ],
  ['\u0645\u0631\u062d\u0628\u0627', [12986, 10948, 25722, 16378, 22625]],
  [
    '\u0939\u093f\u0928\u094d\u0926\u0940 \u092d\u093e\u0937\u093e',
    [29446, 26721, 26090, 19389, 29552, 25751, 3124, 511, 13343, 3124, 371, 13343],
  ],
  ['<|startoftext|>hello<|endoftext|> x', [49406, 3306, 49407, 343]],
  ['under_score-dash--\u2014\u2026', [1798, 318, 4431, 268, 10206, 2154, 6718, 959]],
  ['a\tb\nc\r\nd', [320, 321, 322, 323]],
  ['zibbo inkwash glowcave', [2651, 21892, 4547, 7810, 30472, 9654]],
  [
    'antidisestablishmentarianism pneumonoultramicroscopic',
    [3120, 4262, 7726, 12658, 1585, 44351, 28714, 749, 20253, 9800, 535, 532, 23869],
  ],
  ['constructor __proto__ toString', [13321, 1208, 3838, 44958, 3838, 580, 9696]],
  ["'S 'T IT'S", [568, 713, 585, 568]],
  [' nbsp word', [6459, 4393, 2653]],
  [
    'it\u2019s a \u201cquoted\u201d cat \u2014 nice',
    [585, 568, 320, 257, 27706, 257, 2368, 2005, 1805],
  ],
  [
    '\uff46\uff55\uff4c\uff4c\uff57\uff49\uff44\uff54\uff48\u3000\uff11\uff12\uff13\uff01',
    [9407, 23571, 272, 273, 274, 256],
  ],
  ['\ufb01sh o\ufb03ce', [2759, 2171]],
  ['bell\u0007 null\u0000 bom\ufeff', [3718, 47376, 19469]],
  [' alone', [4702]],
  ['caf\u00e9\u200b zero width', [15304, 9844, 5848, 23571]],
  ['soft\u00adhyphen', [3773, 22618, 1441, 745, 576]],
  [
    '\u201alow\u2018 \u201bx \u201ey\u201f \u2033z\u2032',
    [262, 1042, 262, 262, 343, 257, 344, 257, 25061, 345, 32633],
  ],
  ['tab\there  \n\n double', [14724, 763, 3200]],
];

test.each(known)('%j', (text, ids) => {
  expect(tokenizer.encode(text)).toEqual(ids);
});

test('the vocabulary is OpenAI CLIP’s', () => {
  const { vocab, merges } = loadClipVocabulary();
  expect(new Set(Object.values(vocab)).size).toBe(49408);
  expect(vocab['!']).toBe(0);
  expect(vocab['<|startoftext|>']).toBe(clipBos);
  expect(vocab['<|endoftext|>']).toBe(clipEos);
  expect(merges.slice(0, 3)).toEqual([
    ['i', 'n'],
    ['t', 'h'],
    ['a', 'n'],
  ]);
  // Entry 512 + k is what the k-th merge makes.
  expect(merges.every(([left, right], k) => vocab[left + right] === 512 + k)).toBe(true);
});

test('neither case nor spaces matter, control characters vanish', () => {
  const ids = tokenizer.encode('a red circle');
  expect(tokenizer.encode('  A\tRED \r\n\u00a0 Circle\u0000\u0007 ')).toEqual(ids);
});

test('ids turn back into the text in lower case', () => {
  const text = 'zibbo , 日本の猫 🎉 naïve привет';
  expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  expect(tokenizer.decode([])).toBe('');
});

test('a caption alone in a chunk is filled up with the closing id', () => {
  const { ids, chunks, tokens, cutText } = tokenizer.chunk('a photo of a cat');
  expect([chunks, tokens, cutText, ids.length]).toEqual([1, 5, null, clipPositions]);
  expect([...ids.subarray(0, 8)]).toEqual([clipBos, 320, 1125, 539, 320, 2368, clipEos, clipEos]);
  expect(ids.subarray(6).every((id) => id === clipEos)).toBe(true);
});

test('an empty caption is an empty chunk', () => {
  for (const text of ['', ' \n\t', '\u0000']) {
    const { ids, chunks, tokens } = tokenizer.chunk(text, { pad: 0 });
    expect([chunks, tokens]).toEqual([1, 0]);
    expect([...ids.subarray(0, 3)]).toEqual([clipBos, clipEos, 0]);
  }
});

test('a long caption goes on in the next chunk', () => {
  const text = Array.from({ length: 80 }, (_, i) => (i < 75 ? 'cat' : 'dog')).join(' ');
  const { ids, chunks, tokens, cutText } = tokenizer.chunk(text, { maxTokens: 150 });
  expect([chunks, tokens, cutText]).toEqual([2, 80, null]);
  expect([...ids.subarray(1, 76)]).toEqual(Array(75).fill(2368));
  expect(ids[76]).toBe(clipEos);
  expect([...ids.subarray(77, 85)]).toEqual([clipBos, ...Array(5).fill(1929), clipEos, clipEos]);
});

test('what has no place is told in the words of the caption', () => {
  const text = `${'cat '.repeat(74)}  Dog, İstanbul\tand MORE Words`;
  const { ids, tokens, cutText } = tokenizer.chunk(text);
  expect(tokens).toBeGreaterThan(clipChunkTokens);
  expect(ids[75]).toBe(1929);
  expect(cutText).toBe(', İstanbul and MORE Words');
  expect(tokenizer.chunk(text, { maxTokens: 150 }).cutText).toBeNull();
});

test('exactly 75 tokens fit, and the 76th does not', () => {
  expect(tokenizer.chunk('cat '.repeat(75))).toMatchObject({ chunks: 1, cutText: null });
  expect(tokenizer.chunk('cat '.repeat(76))).toMatchObject({ chunks: 1, cutText: 'cat' });
  expect(tokenizer.chunk('cat '.repeat(76), { maxTokens: 150 }).chunks).toBe(2);
});

test('very long text is cut quickly', () => {
  const { chunks, tokens, cutText } = tokenizer.chunk('ab1 '.repeat(20_000), { maxTokens: 225 });
  expect([chunks, tokens]).toEqual([3, 40_000]);
  expect(cutText?.length).toBe(80_000 - 225 * 2 - 1);
});

test('chunks asked for are added empty', () => {
  const { ids, chunks } = tokenizer.chunk('cat', { maxTokens: 225, minChunks: 3 });
  expect(chunks).toBe(3);
  expect([...ids.subarray(154, 157)]).toEqual([clipBos, clipEos, clipEos]);
});

test('a limit that is no multiple of 75 is refused', () => {
  expect(() => tokenizer.chunk('cat', { maxTokens: 77 })).toThrow('internal:');
});
