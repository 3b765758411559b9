/** @file The page that `inspect` prints. */

import { facts, formatTable, section } from '../format-table.ts';
import { formatBytes, formatCount, formatNumber, plural } from '../format-units.ts';
import type { InspectedAdapter, InspectedModule } from './adapter-modules.ts';
import type { FileDescription, Tally } from './describe-file.ts';
import { datasetFolders, metadataFacts, plainText, topTags } from './readable-metadata.ts';

const tallyText = ({ name, tensors, bytes }: Tally) =>
  `${plainText(name)} ${formatBytes(bytes)} (${plural(tensors, 'tensor')})`;

/** The values that occur, such as `16`, or `4 (12 layers), 8 (36)`. */
function spread(values: readonly (number | null)[], none: string): string {
  const counts = new Map<string, number>();
  for (const value of values) {
    const text = value === null ? none : formatNumber(value);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  if (sorted.length === 1) return sorted[0]![0];
  const shown = sorted.slice(0, 5).map(([text, n]) => `${text} (${plural(n, 'layer')})`);
  return shown.join(', ') + (sorted.length > 5 ? ', …' : '');
}

/** Mean of the norms, or what is odd about them. */
function normText(modules: readonly InspectedModule[]): string {
  const norms = modules.flatMap(({ norm }) => (norm === null ? [] : [norm]));
  if (norms.length === 0) return '';
  const bad = norms.filter((norm) => !Number.isFinite(norm)).length;
  if (bad > 0) return `NaN or infinite in ${plural(bad, 'layer')}`;
  const mean = norms.reduce((sum, norm) => sum + norm, 0) / norms.length;
  return mean === 0 ? '0, not trained' : formatNumber(mean);
}

function groupBy(modules: readonly InspectedModule[], nameOf: (module: InspectedModule) => string) {
  const groups = new Map<string, InspectedModule[]>();
  for (const module of modules) {
    const name = nameOf(module);
    groups.set(name, [...(groups.get(name) ?? []), module]);
  }
  return groups;
}

function adapterSection({ adapter }: FileDescription): string[] {
  if (!adapter) return [];
  const groups = groupBy(adapter.modules, ({ part, layer }) => `${part}\n${layer}`);
  const rows = Array.from(groups, ([name, modules]) => [
    ...name.split('\n'),
    String(modules.length),
    formatCount(modules.reduce((sum, { parameters }) => sum + parameters, 0)),
    normText(modules),
  ]);
  const withNorms = rows.some((row) => row[4] !== '');
  const head = ['network', 'layers', 'count', 'parameters', ...(withNorms ? ['mean ‖ΔW‖'] : [])];
  const { modules } = adapter;
  return [
    section('Adapter', [
      facts([
        [
          'rank',
          spread(
            modules.map(({ rank }) => rank),
            'unknown',
          ),
        ],
        [
          'alpha',
          spread(
            modules.map(({ alpha }) => alpha),
            'none, as rank',
          ),
        ],
        ['layers', String(modules.length)],
      ]),
      '',
      formatTable(rows, head),
    ]),
  ];
}

function sizesFacts({ sizes, fault }: FileDescription): ([string, string] | null)[] {
  if (!sizes) return [fault === null ? null : ['fault', fault]];
  const { unet, text, text2, vae } = sizes;
  return [
    ['UNet', `${unet.channels.join('/')} channels, context ${unet.contextChannels}`],
    [
      'text encoder',
      `${plural(text.layers, 'layer')} of ${text.hidden}, ${text.vocabulary} tokens`,
    ],
    text2 ? ['second encoder', `${plural(text2.layers, 'layer')} of ${text2.hidden}`] : null,
    ['VAE', `${vae.channels.join('/')} channels, ${vae.latentChannels} in the latents`],
  ];
}

function hashText(matches: boolean): string {
  return matches
    ? 'the data is as its hash says'
    : 'the data does not match its hash: the file was changed or damaged';
}

function metadataSection(file: FileDescription): string[] {
  const count = Object.keys(file.metadata).length;
  if (count === 0) return [section('Metadata', ['none'])];
  const tags = topTags(file).map(([tag, n]) => `${tag} (${n})`);
  const folders = datasetFolders(file);
  return [
    section('Metadata', [
      facts([
        ...metadataFacts(file),
        folders.length > 0 ? ['folders', folders.join('\n')] : null,
        tags.length > 0 ? ['captions', tags.join(', ')] : null,
        ['fields', `${count}, all of them with --metadata`],
      ]),
    ]),
  ];
}

/** What a file is, in a page. */
export function inspectPage(file: FileDescription): string {
  const { total, types, parts, hashMatches } = file;
  const head = facts([
    ['file', file.path],
    ['kind', file.kindName.replace(/^(an?|the) /, '')],
    file.family === null ? null : [file.adapter ? 'for' : 'family', file.family],
    ['size', formatBytes(file.bytes)],
    ['values', `${formatCount(total.parameters)} in ${plural(total.tensors, 'tensor')}`],
    ['stored as', types.map(tallyText).join(', ') || 'nothing'],
    parts.length > 0 ? ['parts', parts.map(tallyText).join(', ')] : null,
    ...sizesFacts(file),
    hashMatches === null ? null : ['hash', hashText(hashMatches)],
  ]);
  return [head, ...adapterSection(file), ...metadataSection(file)].join('\n\n');
}

/** Every layer of an adapter. */
export function modulesTable({ modules }: InspectedAdapter): string {
  const rows = modules.map(({ name, rank, alpha, norm }) => [
    plainText(name),
    rank === null ? '' : String(rank),
    alpha === null ? '' : formatNumber(alpha),
    norm === null ? '' : formatNumber(norm),
  ]);
  return formatTable(rows, ['layer', 'rank', 'alpha', '‖ΔW‖']);
}
