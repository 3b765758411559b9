/** @file What `check` finds out about the base model: its kind, its sizes, the adapter's modules. */

import type { Config } from '../../config/resolve-config.ts';
import { type LoraLayout, loraLayout } from '../../lora/lora-layout.ts';
import { targetModules } from '../../lora/target-modules.ts';
import { fileKind, fileKindNames } from '../../models/file-kind.ts';
import { openSd1Checkpoint, type Sd1Checkpoint } from '../../models/sd1/checkpoint.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { UserError } from '../../tensor/user-error.ts';
import { openSafetensors, type SafetensorsFile } from '../../weights/safetensors-file.ts';
import { formatBytes, formatCount, plural } from '../format-units.ts';
import { shownPath } from '../shown-path.ts';

/** Ids of CLIP's vocabulary; a text encoder with fewer cannot read its tokens. */
const clipVocabulary = 49408;

/** What is known of the base. */
export interface BaseReport {
  /** Names and values for the page. */
  readonly facts: readonly (readonly [string, string])[];
  /** Null where the file is unfit. */
  readonly model: Sd1Checkpoint | null;
  readonly layouts: readonly LoraLayout[];
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

function messageOf(error: unknown): string {
  if (error instanceof UserError) return error.message;
  throw error;
}

/** `F16 (1130 tensors), F32 (15)` */
function storedTypes({ entries }: SafetensorsFile): string {
  const counts = new Map<string, number>();
  for (const { stored } of entries.values()) counts.set(stored, (counts.get(stored) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([type, n], i) => `${type} (${n}${i === 0 ? ' tensors' : ''})`).join(', ');
}

/** The adapter's two groups, without those that have no module. */
function layoutsOf(model: Sd1Checkpoint, lora: Config['lora']): LoraLayout[] {
  const { rank, alpha, unet, textEncoder, convRank, convAlpha } = lora;
  const convolutions = convRank !== null;
  const modules = targetModules(model.shapes, { unet, textEncoder, convolutions });
  const ranks = { rank, alpha, convRank: convRank ?? undefined, convAlpha };
  return (['unet', 'text_encoder'] as const)
    .map((group) => loraLayout(group, modules, ranks))
    .filter((layout) => layout.size > 0);
}

const bytesPerValue = { f16: 2, bf16: 2, f32: 4 } as const;

function adapterText(layouts: readonly LoraLayout[], precision: keyof typeof bytesPerValue) {
  const values = layouts.reduce((sum, { size }) => sum + size, 0);
  const names = { unet: 'in the UNet', text_encoder: 'in the text encoder' };
  const parts = layouts.map(({ group, slots }, i) =>
    i === 0
      ? `${plural(slots.length, 'module')} ${names[group]}`
      : `${slots.length} ${names[group]}`,
  );
  const bytes = formatBytes(values * bytesPerValue[precision]);
  return `${parts.join(', ')}; ${formatCount(values)} parameters, a file of ${bytes}`;
}

function sizesText({ sizes }: Sd1Checkpoint): string {
  const { unet, text } = sizes;
  const layers = plural(text.layers, 'layer');
  return `UNet ${unet.channels.join('/')} channels, text encoder ${layers} of ${text.hidden}`;
}

/** Every weight that holds NaN or infinity, one message each. */
function findDamage(model: Sd1Checkpoint): string[] {
  const problems: string[] = [];
  for (const name of model.places.keys()) {
    try {
      model.read(name);
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  return problems;
}

function checkModel(model: Sd1Checkpoint, file: SafetensorsFile, { lora, train, output }: Config) {
  const { text } = model.sizes;
  const problems: string[] = [];
  const warnings: string[] = [];
  if (text.vocabulary < clipVocabulary) {
    problems.push(
      `${file.path}: its text encoder knows ${text.vocabulary} tokens, CLIP's tokenizer has ${clipVocabulary}; use another checkpoint`,
    );
  }
  if (train.clipSkip > text.layers) {
    problems.push(
      `train.clipSkip: ${train.clipSkip}, but the text encoder has ${plural(text.layers, 'layer')}; set 1 to ${text.layers}`,
    );
  }
  const unused = model.unknownKeys;
  if (unused.length > 0) {
    warnings.push(
      `${file.path}: ${plural(unused.length, 'tensor')} of no use here, such as ${unused[0]}`,
    );
  }
  const layouts = layoutsOf(model, lora);
  const facts: [string, string][] = [
    ['sizes', sizesText(model)],
    ['adapter', adapterText(layouts, output.precision)],
  ];
  return { facts, problems, warnings, layouts };
}

function fileFacts(file: SafetensorsFile): [string, string][] {
  const values = [...file.entries.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return [
    ['file', shownPath(file.path)],
    ['kind', fileKindNames[fileKind(file.entries)].replace(/^an? /, '')],
    ['weights', `${formatCount(values)}, ${formatBytes(file.size)}, ${storedTypes(file)}`],
  ];
}

/** @param deep read all weights, and report those that are no numbers */
export async function checkBase(config: Config, deep: boolean): Promise<BaseReport> {
  const open: SafetensorsFile[] = [];
  const openFile = async (path: string) => {
    const file = await openSafetensors(path);
    open.push(file);
    return file;
  };
  let facts: readonly (readonly [string, string])[] = [['file', shownPath(config.base)]];
  try {
    const file = await openFile(config.base);
    facts = fileFacts(file);
    const vae = config.vae === null ? undefined : await openFile(config.vae);
    const model = openSd1Checkpoint(file, { vae });
    const found = checkModel(model, file, config);
    facts = [...facts, ...(vae ? [['VAE', shownPath(vae.path)] as const] : []), ...found.facts];
    const problems = deep ? [...found.problems, ...findDamage(model)] : found.problems;
    return { ...found, facts, model, problems };
  } catch (error) {
    return { facts, model: null, layouts: [], problems: [messageOf(error)], warnings: [] };
  } finally {
    for (const file of open) file.close();
  }
}
