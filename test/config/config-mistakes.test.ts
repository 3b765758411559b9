/** @file What a wrong configuration is told: the line, what was found, what is expected, what is near. */

import { expect, test } from 'vitest';
import { complaints, contradiction, load, minimal } from './fixture.ts';

test('all mistakes of a file at once, in its order', () => {
  const text = `base: model.safetensors
output:
  name: 2024
  precision: fp16
lora:
  network_dim: 16
  rank: "16"
learningRate: 1e-4
data:
  folders:
    - path: a
      repeat: 3
    - b
  flip: yes
  captionExtensions: .txt
train:
  stesp: 10
  warmupSteps: 1.5
  batchSize:
  keepTokens: 1
preview:
  prompts:
    - {prompt: x, sed: 1}
    - 3
  seeds: 1
`;
  expect(complaints(text)).toEqual([
    'run.yaml:3: output.name: found 2024, expected a text; put it in quotes: "2024"',
    'run.yaml:4: output.precision: found "fp16", expected one of f16, bf16 or f32; did you mean f16?',
    "run.yaml:6: lora.network_dim: unknown key; kohya's network_dim is lora.rank here",
    'run.yaml:7: lora.rank: found "16", expected a whole number from 1 to 1024; write 16 without quotes or separators',
    'run.yaml:8: learningRate: unknown key; did you mean train.learningRate?',
    'run.yaml:12: data.folders[0].repeat: unknown key; did you mean data.folders[].repeats?',
    'run.yaml:13: data.folders[1]: found "b", expected a section with keys such as path, repeats, prior',
    'run.yaml:14: data.flip: found "yes", expected true or false; write true',
    'run.yaml:15: data.captionExtensions: found ".txt", expected a list with at least one entry; write it as a list: [".txt"]',
    'run.yaml:17: train.stesp: unknown key; did you mean train.steps?',
    'run.yaml:18: train.warmupSteps: found 1.5, expected a whole number, 0 or more',
    'run.yaml:19: train.batchSize: found nothing, expected a whole number from 1 to 1024; leave the key out for the default, 1',
    'run.yaml:20: train.keepTokens: unknown key; did you mean data.keepTokens?',
    'run.yaml:23: preview.prompts[0].sed: unknown key; did you mean preview.prompts[].seed?',
    'run.yaml:24: preview.prompts[1]: found 3, expected a text or a section with keys such as prompt, negativePrompt, seed; put it in quotes: "3"',
    'run.yaml:25: preview.seeds: found 1, expected a list with at least one entry; write it as a list: [1]',
  ]);
});

test('contradictions are found beside other mistakes', () => {
  const text = minimal.replace('model.safetensors', '[]').replace('100', '100\n  epochs: 3');
  expect(complaints(text)).toEqual([
    'run.yaml:1: base: found a list, expected a text',
    expect.stringMatching(/^run.yaml:8: train.steps and train.epochs are both given/),
  ]);
});

const traps: readonly (readonly [string, string, string])[] = [
  ['a tab', 'lora:\n\trank: 4\n', 'run.yaml:2: a tab at the start of a line: indent with spaces'],
  [
    'a duplicate key',
    'base: a\nvae: b\nbase: c\n',
    'run.yaml:3: base is given twice, first in line 1',
  ],
  ['two colons', 'base: a: b\n', 'run.yaml:1: a second ": " in one line'],
  ['an unknown alias', 'base: *cat\n', 'put text that starts with * or & in quotes'],
  ['an unknown tag', 'base: !cat x\n', 'put text that starts with ! in quotes'],
  [
    'a path of Windows in double quotes',
    'base: "C:\\models\\x"\n',
    'run.yaml:1: Invalid escape sequence \\m: in double quotes a backslash begins',
  ],
  ['an open bracket', 'base: [\n', 'not valid YAML'],
  ['two documents', 'base: a\n---\nbase: b\n', 'run.yaml:2: a second document starts here'],
  ['a key that is a list', '? [a]\n: b\n', 'run.yaml:1: a key must be a plain name'],
  ['a merge key', '<<: {a: 1}\n', 'run.yaml:1: <<: unknown key; merge keys are not read'],
  ['__proto__', '__proto__: {base: x}\n', 'run.yaml:1: __proto__: unknown key'],
  [
    'an infinite number',
    'train: {learningRate: .inf}\n',
    'found Infinity, expected a number, above 0',
  ],
  ['deep nesting', `base: ${'['.repeat(5000)}${']'.repeat(5000)}\n`, 'too '],
];

test.each(traps)('%s is explained', (_, text, message) => {
  expect(complaints(text).join('\n')).toContain(message);
});

test('aliases work, and cannot be used to blow a file up', () => {
  const aliased = minimal.replace('images', '&a images\n    - path: *a');
  expect(load(aliased).config.data.folders).toHaveLength(2);
  const levels = Array.from({ length: 12 }, (_, i) => {
    const item = i === 0 ? 'x' : `*l${i - 1}`;
    return `l${i}: &l${i} [${Array(10).fill(item).join(', ')}]`;
  });
  expect(complaints(levels.join('\n')).join('\n')).toContain(
    'too many or too deeply nested values',
  );
});

test('numbers in the notation of learning rates', () => {
  for (const [written, value] of [
    ['1e-4', 1e-4],
    ['1E-4', 1e-4],
    ['5.0e-05', 5e-5],
    ['.001', 0.001],
  ] as const) {
    expect(load(minimal, `train.learningRate=${written}`).config.train.learningRate).toBe(value);
  }
  expect(contradiction('train.learningRate=1e4')).toContain('above 0 and at most 1');
});

test.each([
  ['a/b'],
  ['a:b'],
  ['"a,b"'],
  ['"<lora>"'],
  ['.hidden'],
  ['"{a}"'],
  ['"a "'],
  ['a.'],
  [`${'ä'.repeat(101)}`],
])('output.name %s is no file name for a prompt', (name) => {
  expect(contradiction(`output.name=${name}`)).toContain('output.name: found');
});

test.each([['a'], ['my character v1.2 (final)'], ['猫']])('output.name %s is fine', (name) => {
  expect(load(minimal, `output.name=${name}`).config.output.name).toBe(name);
});
