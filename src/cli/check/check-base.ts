/** @file What `check` finds out about the base model: its kind, its sizes, the adapter's modules. */

import type { UnsizedConfig } from '../../config/resolve-config.ts';
import { type LoraLayout, loraLayout } from '../../lora/lora-layout.ts';
import { targetModules } from '../../lora/target-modules.ts';
import type { Checkpoint } from '../../models/checkpoint.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { UserError } from '../../tensor/user-error.ts';
import { foreseeSettings, predictionNames } from '../../train/base-settings.ts';
import { hiddenScale } from '../../train/hidden-scale.ts';
import { type OpenModel, openModel } from '../../train/open-model.ts';
import type { SafetensorsFile } from '../../weights/safetensors-file.ts';
import { formatBytes, formatCount, plural } from '../format-units.ts';
import { resolutionText } from '../resolution-text.ts';
import { shownPath } from '../shown-path.ts';

/** What is known of the base. */
export interface BaseReport {
  /** Names and values for the page. */
  readonly facts: readonly (readonly [string, string])[];
  /** Null where the file is unfit. */
  readonly model: Checkpoint | null;
  readonly layouts: readonly LoraLayout[];
  /** Side of the pictures that it was made at, in pixels; null where nothing tells. */
  readonly resolution: number | null;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

function messageOf(error: unknown): string {
  if (error instanceof UserError) return error.message;
  throw error;
}

/** `F16 (1130 tensors), F32 (15)` */
function storedTypes(files: readonly SafetensorsFile[]): string {
  const counts = new Map<string, number>();
  for (const { stored } of files.flatMap(({ entries }) => [...entries.values()])) {
    counts.set(stored, (counts.get(stored) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([type, n], i) => `${type} (${n}${i === 0 ? ' tensors' : ''})`).join(', ');
}

/** The adapter's two groups, without those that have no module. */
function layoutsOf(model: Checkpoint, lora: UnsizedConfig['lora']): LoraLayout[] {
  const { rank, alpha, unet, textEncoder, convRank, convAlpha } = lora;
  const convolutions = convRank !== null;
  const modules = targetModules(model, { unet, textEncoder, convolutions });
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

function sizesText({ sizes }: Checkpoint): string {
  const { unet, text, text2 } = sizes;
  const encoder = `text encoder ${plural(text.layers, 'layer')} of ${text.hidden}`;
  const second = text2 ? `, the second ${text2.layers} of ${text2.hidden}` : '';
  return `UNet ${unet.channels.join('/')} channels, ${encoder}${second}`;
}

/** Every weight that holds NaN or infinity, one message each. */
function findDamage(model: Checkpoint): string[] {
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

/** What the base predicts and reads; training tries out what nothing tells. */
async function settingsFacts(
  model: Checkpoint,
  config: UnsizedConfig,
): Promise<Pick<BaseReport, 'facts' | 'warnings' | 'resolution'>> {
  const settings = await foreseeSettings(model, config.train);
  const { predictionType, predictionFrom, clipSkip, zeroTerminalSnr, resolution } = settings;
  const { needsTrial } = settings;
  const predicts = needsTrial
    ? 'nothing tells; tried on the base itself when training starts'
    : `${predictionNames[predictionType]}, ${predictionFrom}`;
  const made: [string, string][] =
    needsTrial || resolution === null ? [] : [['made at', `${resolution} pixels`]];
  return {
    facts: [
      ['predicts', zeroTerminalSnr ? `${predicts}; zero terminal SNR` : predicts],
      ...made,
      ...(config.data.resolution === null
        ? [['trained at', resolutionText(config, settings)] as [string, string]]
        : []),
      ...(model.family.fixedClipSkip === null
        ? [['clip skip', String(clipSkip)] as [string, string]]
        : []),
    ],
    warnings: settings.warnings,
    resolution,
  };
}

async function checkModel(
  model: Checkpoint,
  config: UnsizedConfig,
): Promise<Omit<BaseReport, 'model'>> {
  const { base, lora, output } = config;
  const problems: string[] = [];
  const warnings: string[] = [];
  const settled = await settingsFacts(model, config).catch((error: unknown) => {
    problems.push(messageOf(error));
    return { facts: [], warnings: [], resolution: null };
  });
  warnings.push(...settled.warnings);
  const unused = model.unknownKeys;
  if (unused.length > 0) {
    warnings.push(
      `${base}: ${plural(unused.length, 'tensor')} of no use here, such as ${unused[0]}`,
    );
  }
  const layouts = layoutsOf(model, lora);
  const scale = hiddenScale(layouts, output.format);
  if (scale !== null) warnings.push(scale);
  const facts: readonly (readonly [string, string])[] = [
    ['sizes', sizesText(model)],
    ...settled.facts,
    ['adapter', adapterText(layouts, output.precision)],
  ];
  return { facts, problems, warnings, layouts, resolution: settled.resolution };
}

function fileFacts(path: string, { checkpoint, files }: OpenModel): [string, string][] {
  const entries = files.flatMap((file) => [...file.entries.values()]);
  const values = entries.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const kind = files.length === 1 && files[0]!.path === path ? 'checkpoint' : 'diffusers folder';
  return [
    ['file', shownPath(path)],
    ['kind', `${checkpoint.family.name} ${kind}`],
    ['weights', `${formatCount(values)}, ${formatBytes(bytes)}, ${storedTypes(files)}`],
  ];
}

/** @param deep read all weights, and report those that are no numbers */
export async function checkBase(config: UnsizedConfig, deep: boolean): Promise<BaseReport> {
  let facts: readonly (readonly [string, string])[] = [['file', shownPath(config.base)]];
  let model: OpenModel | undefined;
  try {
    model = await openModel(config.base, config.vae);
    const { checkpoint, vae } = model;
    const found = await checkModel(checkpoint, config);
    facts = [
      ...fileFacts(config.base, model),
      ...(vae ? [['VAE', shownPath(vae.path)] as const] : []),
      ...found.facts,
    ];
    const problems = deep ? [...found.problems, ...findDamage(checkpoint)] : found.problems;
    return { ...found, facts, model: checkpoint, problems };
  } catch (error) {
    const problems = [messageOf(error)];
    return { facts, model: null, layouts: [], resolution: null, problems, warnings: [] };
  } finally {
    model?.close();
  }
}
