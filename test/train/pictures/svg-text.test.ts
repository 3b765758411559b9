/** @file Text becomes outlines of its measured size, and is cut or wrapped to a width. */

import { expect, test } from 'vitest';
import { encodePng } from '../../../src/train/pictures/encode-png.ts';
import {
  fitText,
  measureText,
  svgText,
  type TextPlace,
  wrapText,
} from '../../../src/train/pictures/svg-text.ts';
import { decode, find } from './pixels.ts';

const style = { size: 20 };

async function drawn(text: string, place: Partial<TextPlace> = {}) {
  const svg = svgText(text, { ...style, x: 150, baseline: 40, color: '#000000', ...place });
  const rgb = new Uint8Array(300 * 60 * 3).fill(255);
  const dark = find(await decode(await encodePng({ width: 300, height: 60, rgb }, svg)), '#000000');
  const xs = dark.map(([x]) => x);
  const ys = dark.map(([, y]) => y);
  return {
    count: dark.length,
    left: Math.min(...xs),
    right: Math.max(...xs) + 1,
    top: Math.min(...ys),
    bottom: Math.max(...ys) + 1,
  };
}

test('stands on its baseline, as high as its capitals and as wide as measured', async () => {
  const box = await drawn('HHHH');
  expect(box.bottom).toBe(40);
  // Capitals of DejaVu Sans are 0.729 of the size.
  expect(box.top).toBeGreaterThanOrEqual(25);
  expect(box.top).toBeLessThanOrEqual(27);
  expect(box.right - box.left).toBeGreaterThan(measureText('HHHH', style) - 6);
  expect(box.right - box.left).toBeLessThan(measureText('HHHH', style));
});

test('is anchored at its start, middle or end', async () => {
  const width = measureText('HHHH', style);
  const start = await drawn('HHHH');
  const middle = await drawn('HHHH', { anchor: 'middle' });
  const end = await drawn('HHHH', { anchor: 'end' });
  expect(start.left).toBeGreaterThanOrEqual(150);
  expect(Math.abs(start.left - middle.left - width / 2)).toBeLessThanOrEqual(1);
  expect(Math.abs(start.left - end.left - width)).toBeLessThanOrEqual(1);
  expect(end.right).toBeLessThanOrEqual(150);
});

test('bold text covers more', async () => {
  expect((await drawn('loss', { bold: true })).count).toBeGreaterThan((await drawn('loss')).count);
});

test('needs no font of the machine', () => {
  const svg = svgText('Loss <1> & "two"', { ...style, x: 0, baseline: 20, color: '#000000' });
  expect(svg).toMatch(/^<path fill="#000000" d="[MLQCZ0-9. -]+"\/>$/);
});

test.each(['ä', 'ß', 'Ж', 'λ', '…', '→', '×'])('has the letter %s', (letter) => {
  const place = { ...style, x: 0, baseline: 20, color: '#000000' };
  expect(svgText(letter, place)).not.toBe(svgText('\u{10FFFF}', place));
});

test('shows a box for what the font lacks, and nothing for what cannot be seen', () => {
  const place = { ...style, x: 0, baseline: 20, color: '#000000' };
  expect(svgText('漢', place)).toContain('<path');
  expect(svgText('\u200b\ufe0f\u0007', place)).toBe('');
  expect(svgText(' ', place)).toBe('');
  expect(measureText('a\tb', style)).toBe(measureText('a b', style));
  expect(measureText('e\u0301', style)).toBe(measureText('é', style));
});

test('is cut with an ellipsis where it is too wide', () => {
  const text = 'a portrait of the hero';
  expect(fitText(text, measureText(text, style), style)).toBe(text);
  const width = measureText('a portrait of t…', style);
  expect(fitText(text, width, style)).toBe('a portrait of t…');
  expect(fitText(text, 0, style)).toBe('…');
});

test('wraps at spaces, breaks what is too wide, and ends in an ellipsis when lines run out', () => {
  const width = measureText('red hair, on', style);
  const wrap = (text: string, maxLines: number) => wrapText(text, { width, maxLines }, style);
  expect(wrap('  red hair, on a\nhill ', 3)).toEqual(['red hair, on', 'a hill']);
  expect(wrap('', 3)).toEqual([]);
  const lines = wrap('red hair, on blue hills, far away, at noon', 2);
  expect(lines).toHaveLength(2);
  expect(lines[1]).toMatch(/^blue hill.*…$/);
  const broken = wrap('incomprehensibilities', 5);
  expect(broken.join('')).toBe('incomprehensibilities');
  expect(broken.length).toBeGreaterThan(1);
  for (const line of [...lines, ...broken]) {
    expect(measureText(line, style)).toBeLessThanOrEqual(width);
  }
});
