/**
 * @file The ranks and alphas of adapter files that have no tensor for them: PEFT's configuration, as
 * text, in the metadata that diffusers reads (`lora_adapter_metadata`) or in `adapter_config.json`.
 */

import { UserError } from '../tensor/user-error.ts';
import { shown } from '../weights/file-error.ts';
import type { LayerName, LayerNetwork } from './names/layer-name.ts';

/** Where diffusers looks for it in a file's metadata. */
export const scalesKey = 'lora_adapter_metadata';

/** One layer's scale, which is alpha / rank. */
export interface LayerScale {
  readonly layer: LayerName;
  readonly rank: number;
  readonly alpha: number;
}

function mostFrequent(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}

/** The values that differ from `usual`, by path. */
function pattern(layers: readonly LayerScale[], usual: number, key: 'rank' | 'alpha') {
  const others = layers.filter((layer) => layer[key] !== usual);
  return Object.fromEntries(others.map((scale) => [scale.layer.path, scale[key]]));
}

/** The text for diffusers: PEFT's fields for each network, their names behind the network's. */
export function writeScales(scales: readonly LayerScale[]): string {
  const fields: Record<string, unknown> = {};
  for (const network of ['unet', 'text_encoder', 'text_encoder_2'] satisfies LayerNetwork[]) {
    const own = scales.filter(({ layer }) => layer.network === network);
    if (own.length === 0) continue;
    const rank = mostFrequent(own.map((scale) => scale.rank));
    const alpha = mostFrequent(own.map((scale) => scale.alpha));
    fields[`${network}.r`] = rank;
    fields[`${network}.lora_alpha`] = alpha;
    fields[`${network}.rank_pattern`] = pattern(own, rank, 'rank');
    fields[`${network}.alpha_pattern`] = pattern(own, alpha, 'alpha');
    fields[`${network}.target_modules`] = own.map(({ layer }) => layer.path).sort();
  }
  return JSON.stringify(fields);
}

type Fields = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A literal key of a pattern: PEFT takes them for regular expressions, of which nobody's are needed here. */
const literalKey = /^\^?[\w.]+\$?$/;

function checkPattern(value: unknown, where: string): readonly (readonly [string, number])[] {
  if (value === undefined || value === null) return [];
  const entries = isRecord(value) ? Object.entries(value) : [[where, null] as const];
  return entries.map(([key, number]) => {
    if (typeof number !== 'number' || !literalKey.test(key)) {
      throw new UserError(`${where} holds ${shown(key)}, which cannot be read`);
    }
    return [key.replace(/^\^|\$$/g, ''), number] as const;
  });
}

/** What a network's fields say of a layer. */
type AlphaOf = (path: string, rank: number) => number | null;

function alphaReader(fields: Fields, where: string): AlphaOf {
  if (fields['use_dora'] === true) throw new UserError(`${where} says that it is a DoRA`);
  const { lora_alpha: alpha, use_rslora: isStabilized } = fields;
  const alphas = checkPattern(fields['alpha_pattern'], `alpha_pattern of ${where}`);
  if (alpha !== undefined && alpha !== null && typeof alpha !== 'number') {
    throw new UserError(`lora_alpha of ${where} is no number`);
  }
  return (path, rank) => {
    const own = alphas.find(([key]) => path === key || path.endsWith(`.${key}`))?.[1];
    const value = own ?? alpha ?? null;
    if (value === null) return null;
    // Rank-stabilized LoRA (Kalajdzievski 2023) divides by the root of the rank.
    return isStabilized === true ? value * Math.sqrt(rank) : value;
  };
}

/**
 * Reads the configuration.
 * @param text JSON, with the network's name before each field or without
 * @returns the alpha of a layer of some rank; null where nothing is said of it, which means the rank
 * @throws UserError without a path, where it says what cannot be converted
 */
export function readScales(
  text: string,
  where: string,
): (layer: LayerName, rank: number) => number | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!isRecord(value)) throw new UserError(`${where} is no JSON object`);
  const fields = value;
  const readers = new Map<string, AlphaOf>();
  const readerOf = (network: string) => {
    const prefix = `${network}.`;
    const own = Object.entries(fields).filter(([key]) => key.startsWith(prefix));
    const plain = own.map(([key, field]) => [key.slice(prefix.length), field] as const);
    return alphaReader(own.length > 0 ? Object.fromEntries(plain) : fields, where);
  };
  return ({ network, path }, rank) => {
    const reader = readers.get(network) ?? readerOf(network);
    readers.set(network, reader);
    return reader(path, rank);
  };
}
