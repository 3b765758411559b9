/**
 * @file Text for pictures, as glyph outlines: a machine without fonts shows it, and each shows the same.
 *
 * SVG's own `<text>` is left to the machine's fonts and is blank where there are none.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import opentype, { type Font, type PathCommand } from 'opentype.js';

/** How a text looks. */
export interface TextStyle {
  /** In pixels. */
  readonly size: number;
  readonly bold?: boolean;
}

/** Where a text stands. */
export interface TextPlace extends TextStyle {
  /** In pixels: where the text starts, has its middle or ends, as `anchor` says. */
  readonly x: number;
  /** In pixels: the line that the letters stand on. */
  readonly baseline: number;
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly color: string;
}

const require = createRequire(import.meta.url);

const files = {
  regular: () => require.resolve('@fontsource/dejavu-sans/files/dejavu-sans-latin-400-normal.woff'),
  bold: () => require.resolve('@fontsource/dejavu-sans/files/dejavu-sans-latin-700-normal.woff'),
} as const;

const fonts = new Map<keyof typeof files, Font>();

function fontOf({ bold = false }: TextStyle): Font {
  const weight = bold ? 'bold' : 'regular';
  let font = fonts.get(weight);
  if (!font) {
    const bytes = readFileSync(files[weight]());
    font = opentype.parse(new Uint8Array(bytes).buffer, { lowMemory: true });
    fonts.set(weight, font);
  }
  return font;
}

/** One entry a visible character: white space is a space, what only steers its neighbours is left out. */
function charactersOf(text: string): string[] {
  return [...text.normalize('NFC').replace(/\s/gu, ' ')].filter(
    (character) => !/[\p{Cc}\p{Cf}\p{Variation_Selector}]/u.test(character),
  );
}

/** The width in pixels. */
export function measureText(text: string, style: TextStyle): number {
  return widthOf(charactersOf(text), style);
}

function widthOf(characters: readonly string[], style: TextStyle): number {
  const font = fontOf(style);
  const units = characters.reduce((sum, c) => sum + font.charToGlyph(c).advanceWidth, 0);
  return (units * style.size) / font.unitsPerEm;
}

/** How many characters from the first on fit the width. */
function fittingLength(characters: readonly string[], width: number, style: TextStyle): number {
  let left = width;
  const length = characters.findIndex((character) => {
    left -= widthOf([character], style);
    return left < 0;
  });
  return length < 0 ? characters.length : length;
}

/** The text, or as much of its start as fits the width with an ellipsis after it. */
export function fitText(text: string, width: number, style: TextStyle): string {
  if (measureText(text, style) <= width) return text;
  const characters = charactersOf(text);
  const length = fittingLength(characters, width - measureText('…', style), style);
  return `${characters.slice(0, length).join('').trimEnd()}…`;
}

/** A word that is wider than the line is broken where it has to be. */
function breakWord(word: string, width: number, style: TextStyle): string[] {
  const parts: string[] = [];
  let rest = charactersOf(word);
  while (rest.length > 0) {
    // A line narrower than a letter shows one all the same.
    const length = Math.max(1, fittingLength(rest, width, style));
    parts.push(rest.slice(0, length).join(''));
    rest = rest.slice(length);
  }
  return parts;
}

/** The text in lines of at most that width; the last line ends in an ellipsis if they don't suffice. */
export function wrapText(
  text: string,
  { width, maxLines }: { readonly width: number; readonly maxLines: number },
  style: TextStyle,
): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/u).filter(Boolean)) {
    const last = lines.at(-1);
    const joined = `${last} ${word}`;
    if (last !== undefined && measureText(joined, style) <= width) lines[lines.length - 1] = joined;
    else lines.push(...breakWord(word, width, style));
    if (lines.length > maxLines + 1) break;
  }
  if (lines.length <= maxLines) return lines;
  const full = lines.slice(0, maxLines);
  full[maxLines - 1] = fitText(`${full[maxLines - 1]} ${lines[maxLines]}…`, width, style);
  return full;
}

const rounded = (pixels: number) => String(Math.round(pixels * 100) / 100);

function pathData(command: PathCommand): string {
  switch (command.type) {
    case 'Z':
      return 'Z';
    case 'Q':
      return `Q${[command.x1, command.y1, command.x, command.y].map(rounded).join(' ')}`;
    case 'C':
      return `C${[command.x1, command.y1, command.x2, command.y2, command.x, command.y].map(rounded).join(' ')}`;
    default:
      return `${command.type}${rounded(command.x)} ${rounded(command.y)}`;
  }
}

/** An SVG `<path>` with the outlines of one line of text; empty if there is nothing to see. */
export function svgText(text: string, place: TextPlace): string {
  const { x, baseline, anchor = 'start', size, color } = place;
  const font = fontOf(place);
  const share = { start: 0, middle: 0.5, end: 1 }[anchor];
  let left = x - share * measureText(text, place);
  let data = '';
  for (const character of charactersOf(text)) {
    const glyph = font.charToGlyph(character);
    data += glyph.getPath(left, baseline, size).commands.map(pathData).join('');
    left += (glyph.advanceWidth * size) / font.unitsPerEm;
  }
  return data && `<path fill="${color}" d="${data}"/>`;
}
