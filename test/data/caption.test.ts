/** @file Trigger words, shuffling and dropout. */

import { describe, expect, test } from 'vitest';
import {
  type CaptionOptions,
  captionVariants,
  composeCaption,
  hasTriggerWord,
} from '../../src/data/caption.ts';

const plain: CaptionOptions = {
  shuffleTags: false,
  keepTokens: 0,
  captionSeparator: ',',
  emphasis: false,
  captionDropout: 0,
  variants: null,
};

const compose = (
  caption: string,
  triggerWord: string | null,
  options: Partial<CaptionOptions> = {},
  position = 0,
  seed = 7,
) =>
  composeCaption({ caption, triggerWord }, { ...plain, ...options }, seed, {
    epoch: 0,
    position,
    sample: 0,
  });

describe('trigger word', () => {
  test.each([
    ['a cat on a mat', 'zxc', 'zxc, a cat on a mat'],
    ['a ZXC cat', 'zxc', 'a ZXC cat'],
    ['zxcat', 'zxc', 'zxc, zxcat'],
    ['(zxc:1.2), hat', 'zxc', '(zxc:1.2), hat'],
    ['a cat', 'sks (dog)', 'sks (dog), a cat'],
    ['a sks (dog) here', 'sks (dog)', 'a sks (dog) here'],
    ['élan', 'lan', 'lan, élan'],
    ['a cat', null, 'a cat'],
    ['a cat', ' ', 'a cat'],
    ['', 'zxc', 'zxc'],
  ])('%j with %j', (caption, trigger, expected) => {
    expect(compose(caption, trigger)).toBe(expected);
  });

  test.each(['a-b', 'x/y', '<zxc>', 'c++', '^_^', 'a|b', 'q\\e'])(
    '%s is text, not a pattern',
    (word) => {
      expect(hasTriggerWord(`a ${word}, b`, word)).toBe(true);
      expect(hasTriggerWord('a cat', word)).toBe(false);
    },
  );
});

describe('shuffle', () => {
  const tags = Array.from({ length: 12 }, (_, i) => `tag ${i}`);
  const caption = tags.join(', ');

  test('keeps the tags and the first keepTokens in place', () => {
    const shuffled = compose(caption, null, { shuffleTags: true, keepTokens: 3 }).split(', ');
    expect(shuffled.slice(0, 3)).toEqual(tags.slice(0, 3));
    expect(shuffled).not.toEqual(tags);
    expect(shuffled.toSorted()).toEqual(tags.toSorted());
  });

  test('keeps a trigger word in front, added or written', () => {
    for (let position = 0; position < 10; position++) {
      expect(compose(caption, 'zxc', { shuffleTags: true }, position)).toMatch(/^zxc, /);
      expect(compose(`ZXC, ${caption}`, 'zxc', { shuffleTags: true }, position)).toMatch(/^ZXC, /);
    }
  });

  test('differs between visits and seeds, and repeats for the same', () => {
    const options = { shuffleTags: true };
    const texts = Array.from({ length: 8 }, (_, position) =>
      compose(caption, null, options, position),
    );
    expect(new Set(texts).size).toBe(8);
    expect(compose(caption, null, options, 3)).toBe(texts[3]);
    expect(compose(caption, null, options, 3, 8)).not.toBe(texts[3]);
  });

  test('splits at the separator, and drops empty tags', () => {
    const options = { shuffleTags: true, captionSeparator: '|' };
    expect(compose('a, b| |c', null, options).split('| ').toSorted()).toEqual(['a, b', 'c']);
    expect(compose('b a', null, { shuffleTags: true, captionSeparator: ' ' })).toMatch(
      /^(a b|b a)$/,
    );
  });

  test('emphasis: brackets stay together, and a weighed trigger word in front', () => {
    const options = { shuffleTags: true, emphasis: true };
    const long = '(red hair, [blue eyes, hat]:1.3)';
    const texts = Array.from({ length: 20 }, (_, position) =>
      compose(`(zxc:1.2), ${long}, a, b, c`, 'zxc', options, position),
    );
    expect(new Set(texts).size).toBeGreaterThan(5);
    for (const text of texts) {
      expect(text).toContain(long);
      expect(text).toMatch(/^\(zxc:1\.2\), /);
    }
    const asText = texts.map((_, i) => compose(`${long}, a`, null, { shuffleTags: true }, i));
    expect(asText.some((text) => !text.includes(long))).toBe(true);
    // A bracket without its other half holds nothing together.
    const open = texts.map((_, i) => compose('a, :(, b \\(c, d\\)', null, options, i));
    expect(open.some((text) => text.startsWith('d'))).toBe(true);
  });
});

test('dropout empties its share of the captions, trigger word included', () => {
  const texts = Array.from({ length: 2000 }, (_, i) =>
    compose('cat', 'zxc', { captionDropout: 0.25 }, i),
  );
  const dropped = texts.filter((text) => text === '').length;
  expect(dropped).toBeGreaterThan(420);
  expect(dropped).toBeLessThan(580);
  expect(new Set(texts)).toEqual(new Set(['', 'zxc, cat']));
  expect(compose('cat', null, { captionDropout: 1 })).toBe('');
});

test('counted shuffles are all there is, and are known beforehand', () => {
  const caption = Array.from({ length: 12 }, (_, i) => `tag ${i}`).join(', ');
  const source = { caption, triggerWord: 'zxc' };
  const options = { ...plain, shuffleTags: true, captionDropout: 0.1, variants: 5 };
  const known = captionVariants(source, options, 7, 3);
  expect(known).toHaveLength(6);
  const visits = Array.from({ length: 400 }, (_, i) => ({
    epoch: Math.floor(i / 20),
    position: i % 20,
    sample: 3,
  }));
  const texts = visits.map((visit) => composeCaption(source, options, 7, visit));
  expect(new Set(texts)).toEqual(new Set(known));
  expect(captionVariants(source, options, 7, 4)).not.toEqual(known);
  expect(captionVariants(source, plain, 7, 3)).toEqual([`zxc, ${caption}`]);
});
