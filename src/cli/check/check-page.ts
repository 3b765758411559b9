/** @file The page that `check` prints. */

import { type Size, sizeText } from '../../data/buckets.ts';
import type { DatasetReport, ImageUse } from '../../data/report.ts';
import { facts, formatTable, section } from '../format-table.ts';
import { formatShare, plural } from '../format-units.ts';
import { shownPath } from '../shown-path.ts';
import { type CaptionReport, type CaptionUse, tokensText } from './check-captions.ts';

/** So many images and captions are listed unless all are asked for. */
const listed = 20;
/** A longer caption is shown by its start, and so is what is cut of it. */
const shownCaption = 60;
const shownCut = 300;

/** All there is to tell of a run. */
export interface CheckPage {
  readonly base: readonly (readonly [string, string])[];
  readonly data: DatasetReport;
  readonly captions: CaptionReport;
  readonly length: readonly (readonly [string, string])[];
  readonly memory: readonly (readonly [string, string])[];
  /** List everything. */
  readonly all: boolean;
}

/** `lines`, cut where they are many, with a last one that counts the rest. */
function cut(lines: readonly string[], all: boolean): string[] {
  if (all || lines.length <= listed) return [...lines];
  return [...lines.slice(0, listed), `… and ${lines.length - listed} more (--all lists them)`];
}

function table(rows: readonly (readonly string[])[], head: readonly string[], all: boolean) {
  const lines = formatTable(rows, head).split('\n');
  return [lines[0]!, ...cut(lines.slice(1), all)];
}

function dataSection({ data }: CheckPage): string {
  const { images, priorImages, visits } = data;
  const repeats = visits === images ? '' : `, ${visits} with repeats`;
  return section('Images', [
    facts([
      ['to learn', `${images}${repeats}`],
      priorImages > 0 ? ['prior', String(priorImages)] : null,
      ['crop loss', `${formatShare(data.meanCropLoss)} of a picture on average`],
      data.enlarged.length > 0
        ? ['enlarged', `${plural(data.enlarged.length, 'image')}, smaller than the training size`]
        : null,
      ['duplicates', data.duplicates.length > 0 ? String(data.duplicates.length) : 'none'],
    ]),
    ...data.duplicates.map((paths) => `the same picture: ${paths.map(shownPath).join(', ')}`),
  ]);
}

function bucketSection({ data, all }: CheckPage): string {
  const rows = data.buckets.map(({ bucket, images, visits, batches, incomplete }) => [
    sizeText(bucket),
    String(images),
    String(visits),
    String(batches),
    incomplete > 0 ? `the last one has ${incomplete}` : '',
  ]);
  return section('Buckets', table(rows, ['size', 'images', 'with repeats', 'batches', ''], all));
}

function fitText({ size, scale }: ImageUse): string {
  const rounded = Number(scale.toPrecision(2));
  return `${sizeText(size as Size)}${scale > 1 ? ` enlarged ${rounded}×` : ''}`;
}

function imageSection({ data, all }: CheckPage): string {
  const rows = data.imageUses.map((use) => [
    shownPath(use.path),
    fitText(use),
    sizeText(use.bucket),
    formatShare(use.cropLoss),
  ]);
  return section('Each image', table(rows, ['image', 'size', 'trained at', 'cut off'], all));
}

function startOf(text: string, length: number): string {
  const letters = [...text];
  return letters.length > length ? `${letters.slice(0, length - 1).join('')}…` : text;
}

function captionSection({ captions, all }: CheckPage): string {
  const { uses, repeated } = captions;
  const cutUses = uses.filter((use) => use.cutText !== null);
  const rows = uses.map(({ path, tokens, text }) => [
    shownPath(path),
    String(tokens),
    startOf(text, shownCaption),
  ]);
  const cutLine = (use: CaptionUse) => {
    const text = startOf(use.cutText ?? '', shownCut);
    return `${shownPath(use.path)}: ${tokensText(use)}, cut: "${text}"`;
  };
  return section('Captions', [
    ...table(rows, ['image', 'tokens', 'caption, as trained'], all),
    ...repeated.slice(0, 5).map(([text, n]) => `${plural(n, 'image')} have the caption "${text}"`),
    ...cutUses.map(cutLine),
  ]);
}

/** The whole page, without problems and warnings. */
export function checkPage(page: CheckPage): string {
  const trained = page.data.imageUses.length > 0;
  return [
    section('Base model', [facts(page.base)]),
    dataSection(page),
    ...(trained ? [bucketSection(page), imageSection(page)] : []),
    ...(page.captions.uses.length > 0 ? [captionSection(page)] : []),
    ...(page.length.length > 0 ? [section('Length', [facts(page.length)])] : []),
    ...(page.memory.length > 0 ? [section('Memory', [facts(page.memory)])] : []),
  ].join('\n\n');
}
