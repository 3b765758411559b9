/** @file Reads an adapter's layers off its tensors, in the ways that trainers name them. */

import { sizeOf } from '../../tensor/shape.ts';
import type { SafetensorsFile } from '../../weights/safetensors-file.ts';

/** How an adapter names its tensors. */
type AdapterFormat = 'kohya' | 'peft' | 'diffusers' | 'other';

/** How an adapter makes a change of a few numbers. */
type AdapterKind = 'LoRA' | 'LoHa' | 'LoKr' | 'OFT';

/** A network that is adapted. */
type AdapterPart =
  | 'UNet'
  | 'text encoder'
  | 'text encoder 1'
  | 'text encoder 2'
  | 'transformer'
  | 'other';

/** One adapted layer. */
export interface InspectedModule {
  readonly name: string;
  readonly part: AdapterPart;
  /** What the layer is for, such as `cross-attention`. */
  readonly layer: string;
  readonly rank: number | null;
  /** Null where the file has none, which means `rank`. */
  readonly alpha: number | null;
  readonly parameters: number;
  /** Frobenius norm of the change of the weight at strength 1; null where it was not computed. */
  readonly norm: number | null;
}

/** An adapter file. */
export interface InspectedAdapter {
  readonly format: AdapterFormat;
  readonly kind: AdapterKind;
  /** Channels of the text that cross-attention reads, which tell the base; null without such a layer. */
  readonly contextChannels: number | null;
  readonly modules: readonly InspectedModule[];
}

/** The end of a tensor's name: which of a module's tensors it is. */
const role =
  /[._](lora_(?:down|up|mid|A|B)|lora(?:_linear_layer)?\.(?:down|up)|alpha|dora_scale|diff(?:_b)?|(?:hada|lokr)_\w+|oft_\w+)(?:\.(?:default\.)?weight)?$/;

const parts: readonly (readonly [RegExp, AdapterPart])[] = [
  [/^lora_te1_/, 'text encoder 1'],
  [/^(lora_te2_|text_encoder_2\.)/, 'text encoder 2'],
  [/^(lora_te_|text_encoder\.|te\.)/, 'text encoder'],
  [/^(lora_unet_|unet\.|base_model\.model\.(unet\.|down_|up_|mid_))/, 'UNet'],
  [/^(lora_transformer_|transformer\.)/, 'transformer'],
];

const layers: readonly (readonly [RegExp, string])[] = [
  [/attn1/, 'self-attention'],
  [/attn2/, 'cross-attention'],
  [/self_attn|attention/, 'attention'],
  [/(^|_)(ff|mlp)_/, 'feed-forward'],
  [/proj_(in|out)$/, 'projection'],
  [/resnets|conv|samplers|in_layers|out_layers|emb_layers|skip_connection|_op$/, 'convolution'],
];

const firstMatch = <T>(table: readonly (readonly [RegExp, T])[], text: string, otherwise: T): T =>
  table.find(([pattern]) => pattern.test(text))?.[1] ?? otherwise;

/** The tensors of one module by their role. */
type Roles = Map<string, string>;

function groupByModule(file: SafetensorsFile): Map<string, Roles> {
  const modules = new Map<string, Roles>();
  for (const key of file.entries.keys()) {
    const match = role.exec(key);
    if (!match) continue;
    const name = key.slice(0, match.index);
    const roles = modules.get(name) ?? new Map<string, string>();
    roles.set(match[1]!, key);
    modules.set(name, roles);
  }
  return modules;
}

const firstOf = (roles: Roles, names: readonly string[]) =>
  names.flatMap((name) => roles.get(name) ?? [])[0];
const downOf = (roles: Roles) =>
  firstOf(roles, ['lora_down', 'lora_A', 'lora.down', 'lora_linear_layer.down']);
const upOf = (roles: Roles) =>
  firstOf(roles, ['lora_up', 'lora_B', 'lora.up', 'lora_linear_layer.up']);

function formatOf(file: SafetensorsFile): AdapterFormat {
  const keys = [...file.entries.keys()];
  if (keys.some((key) => /\.lora_[AB]\./.test(key))) return 'peft';
  if (keys.some((key) => /[._]lora(_linear_layer)?\.(down|up)\./.test(key))) return 'diffusers';
  if (keys.some((key) => key.startsWith('lora_'))) return 'kohya';
  return 'other';
}

function kindOf(file: SafetensorsFile): AdapterKind {
  const keys = [...file.entries.keys()];
  if (keys.some((key) => key.includes('.hada_'))) return 'LoHa';
  if (keys.some((key) => key.includes('.lokr_'))) return 'LoKr';
  if (keys.some((key) => key.includes('.oft_'))) return 'OFT';
  return 'LoRA';
}

function rankOf(roles: Roles, file: SafetensorsFile): number | null {
  const down = downOf(roles);
  const key = down ?? roles.get('hada_w1_b') ?? roles.get('lokr_w2_b') ?? roles.get('lokr_w1_b');
  return key === undefined ? null : (file.entries.get(key)?.shape[0] ?? null);
}

function readOrNull(file: SafetensorsFile, key: string | undefined): Float32Array | null {
  const entry = key === undefined ? undefined : file.entries.get(key);
  return entry?.dtype == null ? null : file.readF32Sync(key!);
}

/** Multiplications of all norms of a file that are done without asking; about a second. */
const normBudget = 2e9;

/** Σ (UᵀU)∘(DDᵀ) = ‖U·D‖², without making the product: up [out, r], down [r, in]. */
function squaredNorm(up: Float32Array, down: Float32Array, rank: number): number {
  // A file may claim any rank for a factor without values.
  if (up.length === 0 || down.length === 0) return 0;
  const [outs, ins] = [up.length / rank, down.length / rank];
  let total = 0;
  for (let i = 0; i < rank; i++) {
    for (let j = i; j < rank; j++) {
      let [u, d] = [0, 0];
      for (let o = 0; o < outs; o++) u += up[o * rank + i]! * up[o * rank + j]!;
      for (let k = 0; k < ins; k++) d += down[i * ins + k]! * down[j * ins + k]!;
      total += (i === j ? 1 : 2) * u * d;
    }
  }
  // A product of zeros may come out a little below zero.
  return Math.max(total, 0);
}

function normOf(roles: Roles, file: SafetensorsFile, alpha: number | null): number | null {
  // With a third factor, and for LoHa and LoKr, the change is no product of two matrices.
  if (roles.has('lora_mid')) return null;
  const [down, up] = [readOrNull(file, downOf(roles)), readOrNull(file, upOf(roles))];
  const rank = rankOf(roles, file);
  if (!down || !up || !rank) return null;
  const square = squaredNorm(up, down, rank);
  return Number.isNaN(square) ? Number.NaN : Math.sqrt(square) * ((alpha ?? rank) / rank);
}

function normCost(roles: Roles, file: SafetensorsFile): number {
  const rank = rankOf(roles, file) ?? 0;
  const size = (key: string | undefined) =>
    key === undefined ? 0 : sizeOf(file.entries.get(key)?.shape ?? [0]);
  return (rank * (size(downOf(roles)) + size(upOf(roles)))) / 2;
}

function contextChannels(modules: ReadonlyMap<string, Roles>, file: SafetensorsFile) {
  for (const [name, roles] of modules) {
    const down = downOf(roles);
    if (!/attn2[._](processor[._])?to_[kv]$/.test(name) || down === undefined) continue;
    return file.entries.get(down)?.shape[1] ?? null;
  }
  return null;
}

/** The layers of an adapter file; null where it has none. */
export function adapterModules(file: SafetensorsFile): InspectedAdapter | null {
  const grouped = groupByModule(file);
  if (grouped.size === 0) return null;
  let cost = 0;
  for (const roles of grouped.values()) cost += normCost(roles, file);
  const modules = Array.from(grouped, ([name, roles]): InspectedModule => {
    const alpha = readOrNull(file, roles.get('alpha'))?.[0] ?? null;
    const keys = [...roles].filter(([which]) => which !== 'alpha').map(([, key]) => key);
    return {
      name,
      part: firstMatch(parts, name, 'other'),
      layer: firstMatch(layers, name.replaceAll('.', '_'), 'other'),
      rank: rankOf(roles, file),
      alpha,
      parameters: keys.reduce((sum, key) => sum + sizeOf(file.entries.get(key)!.shape), 0),
      norm: cost <= normBudget ? normOf(roles, file, alpha) : null,
    };
  });
  const channels = contextChannels(grouped, file);
  return { format: formatOf(file), kind: kindOf(file), contextChannels: channels, modules };
}
