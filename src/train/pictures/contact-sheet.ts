/** @file Pictures side by side: a row for each moment of a run, a column for each prompt or seed. */

import { checkPicture, encodePng, type Picture } from './encode-png.ts';
import { fitText, measureText, svgText, type TextStyle, wrapText } from './svg-text.ts';

interface ContactSheetRow {
  /** Such as `before` or `step 100`. */
  readonly label: string;
  readonly images: readonly Picture[];
}

export interface ContactSheet {
  readonly rows: readonly ContactSheetRow[];
  /** Headings, such as prompts. */
  readonly columns?: readonly string[];
  readonly title?: string;
}

/** Sheets of pictures smaller than this on both sides, in pixels, are doubled. */
const tinySide = 192;
const margin = 16;
const gap = 8;
const titleStyle = { size: 17, bold: true };
const labelStyle = { size: 13, bold: true };
const headingStyle = { size: 12 };
const lineHeight = 1.3;
const maxLabelWidth = 130;
const maxHeadingLines = 4;
const ink = '#222222';

/** Where everything goes, in pixels. */
interface Layout {
  readonly scale: 1 | 2;
  readonly width: number;
  readonly height: number;
  /** The left edge of each column. */
  readonly lefts: readonly number[];
  readonly columnWidths: readonly number[];
  /** The upper edge of each row. */
  readonly tops: readonly number[];
  readonly rowHeights: readonly number[];
  readonly labels: readonly (readonly string[])[];
  readonly headings: readonly (readonly string[])[];
}

const largest = (numbers: readonly number[]) => numbers.reduce((a, b) => Math.max(a, b), 0);
const heightOf = (lines: number, { size }: TextStyle) => Math.ceil(lines * size * lineHeight);

/** The edges of cells of these sizes, one after the other, and where the next would start. */
function edgesOf(sizes: readonly number[], start: number): { edges: number[]; next: number } {
  let next = start;
  const edges = sizes.map((size) => {
    const edge = next;
    next += size + gap;
    return edge;
  });
  return { edges, next };
}

function layOut({ rows, columns = [], title }: ContactSheet): Layout {
  const pictures = rows.flatMap(({ images }) => images);
  const scale =
    largest(pictures.flatMap(({ width, height }) => [width, height])) < tinySide ? 2 : 1;
  const columnCount = largest(rows.map(({ images }) => images.length));
  const columnWidths = Array.from(
    { length: columnCount },
    (_, column) => scale * largest(rows.map(({ images }) => images[column]?.width ?? 0)),
  );

  const labels = rows.map(({ label }) =>
    wrapText(label, { width: maxLabelWidth, maxLines: 4 }, labelStyle),
  );
  const labelWidth = Math.ceil(largest(labels.flat().map((line) => measureText(line, labelStyle))));
  const headings = columnWidths.map((width, column) =>
    wrapText(columns[column] ?? '', { width, maxLines: maxHeadingLines }, headingStyle),
  );
  const headingHeight = heightOf(largest(headings.map((lines) => lines.length)), headingStyle);
  const titleHeight = title ? heightOf(1, titleStyle) + gap : 0;

  const rowHeights = rows.map(({ images }, row) =>
    Math.max(
      scale * largest(images.map(({ height }) => height)),
      heightOf(labels[row]?.length ?? 0, labelStyle),
    ),
  );
  const across = edgesOf(columnWidths, margin + (labelWidth && labelWidth + 2 * gap));
  const down = edgesOf(rowHeights, margin + titleHeight + (headingHeight && headingHeight + gap));
  return {
    scale,
    width: across.next - gap + margin,
    height: down.next - gap + margin,
    lefts: across.edges,
    columnWidths,
    tops: down.edges,
    rowHeights,
    labels,
    headings,
  };
}

/** Copies a picture, each of its pixels as a square of `scale` pixels. */
function paste(sheet: Picture, picture: Picture, at: { left: number; top: number; scale: number }) {
  const { left, top, scale } = at;
  for (let y = 0; y < picture.height * scale; y++) {
    const from = Math.floor(y / scale) * picture.width;
    const to = (top + y) * sheet.width + left;
    if (scale === 1) {
      const row = picture.rgb.subarray(from * 3, (from + picture.width) * 3);
      sheet.rgb.set(row, to * 3);
      continue;
    }
    for (let x = 0; x < picture.width * scale; x++) {
      const source = (from + Math.floor(x / scale)) * 3;
      const target = (to + x) * 3;
      sheet.rgb[target] = picture.rgb[source]!;
      sheet.rgb[target + 1] = picture.rgb[source + 1]!;
      sheet.rgb[target + 2] = picture.rgb[source + 2]!;
    }
  }
}

/** Lines of text below one another, the first starting at `top`. */
function svgLines(
  lines: readonly string[],
  { x, top }: { readonly x: number; readonly top: number },
  style: TextStyle,
): string {
  const texts = lines.map((line, i) => {
    const baseline = top + i * style.size * lineHeight + style.size;
    return svgText(line, { ...style, x, baseline, color: ink });
  });
  return texts.join('');
}

function svgTexts({ title }: ContactSheet, layout: Layout): string {
  const { width, lefts, tops, rowHeights, labels, headings } = layout;
  const fitted = title ? [fitText(title, width - 2 * margin, titleStyle)] : [];
  const firstTop = tops[0] ?? margin;
  return [
    svgLines(fitted, { x: margin, top: margin }, titleStyle),
    // Headings stand on their columns.
    ...headings.map((lines, column) => {
      const top = firstTop - gap - heightOf(lines.length, headingStyle);
      return svgLines(lines, { x: lefts[column]!, top }, headingStyle);
    }),
    // Labels are in the middle of their rows' height.
    ...labels.map((lines, row) => {
      const top = tops[row]! + (rowHeights[row]! - heightOf(lines.length, labelStyle)) / 2;
      return svgLines(lines, { x: margin, top }, labelStyle);
    }),
  ].join('');
}

/**
 * A PNG with the pictures at their own size, or twice that if all are tiny. Sizes may differ: a column
 * is as wide as its widest picture, a row as high as its highest. A row may have fewer pictures.
 */
export async function renderContactSheet(sheet: ContactSheet): Promise<Buffer> {
  const layout = layOut(sheet);
  if (layout.columnWidths.length === 0) {
    throw new Error('internal: a contact sheet without pictures');
  }
  for (const { images } of sheet.rows) images.forEach(checkPicture);
  const { width, height, scale, lefts, tops } = layout;
  const canvas = { width, height, rgb: new Uint8Array(width * height * 3).fill(255) };
  for (const [row, { images }] of sheet.rows.entries()) {
    for (const [column, picture] of images.entries()) {
      paste(canvas, picture, { left: lefts[column]!, top: tops[row]!, scale });
    }
  }
  return encodePng(canvas, svgTexts(sheet, layout));
}
