/** @file From a parsed file to the configuration of a run: defaults that depend on other values, and paths. */

import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { hubModelOf } from './hub-id.ts';
import type { FileConfig } from './schema.ts';

type Section<K extends keyof FileConfig> = NonNullable<FileConfig[K]>;

/** A section whose keys `K` are no longer null. */
type Filled<T, K extends keyof T> = Omit<T, K> & { [P in K]: NonNullable<T[P]> };

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? number extends T['length']
    ? readonly DeepReadonly<E>[]
    : Readonly<T>
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** A preview's prompt; `seed` null: each of `preview.seeds`. */
type Prompt = Exclude<Section<'preview'>['prompts'][number], string>;

type Preview = Filled<Omit<Section<'preview'>, 'prompts'>, 'enabled'>;

/**
 * The configuration of a run before its base is opened: plain values. Paths are absolute; `null` means
 * "not wanted", but for `repeats` (see the folder's name), `threads` (automatic) and sizes (as the base
 * was made); a part's learning rate is 0 where `lora` leaves that part out; `data.resolution` is
 * [width, height].
 */
export type UnsizedConfig = DeepReadonly<
  Omit<FileConfig, 'hub' | 'output' | 'lora' | 'data' | 'train' | 'preview' | 'log'> & {
    /** Without the token, which is shown and kept nowhere. */
    hub: Omit<Section<'hub'>, 'token'>;
    output: Filled<Section<'output'>, 'dir'>;
    lora: Filled<Section<'lora'>, 'alpha'>;
    data: Filled<Omit<Section<'data'>, 'resolution'>, 'cacheDir'> & {
      resolution: [number, number] | null;
    };
    train: Filled<Section<'train'>, 'unetLearningRate' | 'textEncoderLearningRate'>;
    preview: Preview & { prompts: Prompt[] };
    log: Filled<Section<'log'>, 'file'>;
  }
>;

type Buckets = Section<'data'>['buckets'];

/** The configuration of a run, with the sizes of its pictures. */
export type Config = Omit<UnsizedConfig, 'data' | 'preview'> & {
  readonly data: Omit<UnsizedConfig['data'], 'resolution' | 'buckets'> & {
    readonly resolution: readonly [number, number];
    readonly buckets: DeepReadonly<Filled<Buckets, 'minSide' | 'maxSide'>>;
  };
  readonly preview: Omit<UnsizedConfig['preview'], 'width' | 'height'> & {
    readonly width: number;
    readonly height: number;
  };
};

/** A configuration and, for each default that came from elsewhere, what it came from. */
export interface Resolved {
  readonly config: UnsizedConfig;
  /** By path, such as `lora.alpha` → `lora.rank`. */
  readonly derived: ReadonlyMap<string, string>;
  /** The base where it is on the hub; null where it is a path. */
  readonly hubModel: HubModel | null;
}

/** A base on the hub, and how to get it; null stands for the environment's. */
export interface HubModel {
  readonly repo: string;
  readonly revision: string;
  readonly file: string | null;
  readonly token: string | null;
  readonly cacheDir: string | null;
}

/** Resolves a path of the file against the working directory; `~/` is the home folder. */
function resolvePath(cwd: string, path: string): string {
  return path.startsWith('~/') || path === '~'
    ? join(homedir(), path.slice(1))
    : resolve(cwd, path);
}

/** A model of a web UI by its bare file name, or any path. */
function modelPath(cwd: string, path: string, webui: string | null, folder: string): string {
  const bare = !/[/\\]/.test(path);
  return webui && bare ? join(webui, 'models', folder, path) : resolvePath(cwd, path);
}

/** Sizes that are left open, and what they follow from. */
function openSizes({ data, preview }: FileConfig): readonly (readonly [string, string])[] {
  const { minSide, maxSide } = data.buckets;
  const sizes = [
    ['data.resolution', data.resolution, 'base'],
    ['data.buckets.minSide', minSide, 'half of data.resolution'],
    ['data.buckets.maxSide', maxSide, 'twice data.resolution'],
    ['preview.width', preview.width, 'data.resolution'],
    ['preview.height', preview.height, 'data.resolution'],
  ] as const;
  return sizes.filter(([, given]) => given === null).map(([path, , from]) => [path, from]);
}

/** Fills in what depends on other values, and makes paths absolute. */
export function resolveConfig(file: FileConfig, cwd: string): Resolved {
  const derived = new Map(openSizes(file));
  function fill<T>(path: string, given: T | null, from: string, fallback: T): T {
    if (given !== null) return given;
    derived.set(path, from);
    return fallback;
  }
  const path = (given: string) => resolvePath(cwd, given);

  const { token, ...hub } = file.hub;
  const cacheDir = hub.cacheDir === null ? null : path(hub.cacheDir);
  const id = hubModelOf(file.base, cwd);
  const hubModel: HubModel | null = id && {
    repo: id.repo,
    revision: hub.revision ?? id.revision ?? 'main',
    file: hub.file ?? id.file,
    token,
    cacheDir,
  };

  const webui = file.webui === null ? null : path(file.webui);
  const models = webui ? "the web UI's models/Lora" : 'models/Lora';
  const dir = path(
    fill(
      'output.dir',
      file.output.dir,
      models,
      webui ? join(webui, 'models', 'Lora') : 'models/Lora',
    ),
  );
  const runFolder = join(dir, '.sdl-train', file.output.name);
  const { lora, data, train, preview } = file;
  const rate = train.learningRate;
  const textRate = 'train.textEncoderLearningRate';
  const resolution: [number, number] | null =
    typeof data.resolution === 'number' ? [data.resolution, data.resolution] : data.resolution;

  const config: UnsizedConfig = {
    base: id ? file.base : modelPath(cwd, file.base, webui, 'Stable-diffusion'),
    vae: file.vae === null ? null : modelPath(cwd, file.vae, webui, 'VAE'),
    webui,
    hub: { ...hub, cacheDir },
    output: { ...file.output, dir },
    lora: { ...lora, alpha: fill('lora.alpha', lora.alpha, 'lora.rank', lora.rank) },
    data: {
      ...data,
      folders: data.folders.map((folder) => ({ ...folder, path: path(folder.path) })),
      resolution,
      cacheDir: path(
        fill(
          'data.cacheDir',
          data.cacheDir,
          'output.dir and output.name',
          join(runFolder, 'cache'),
        ),
      ),
    },
    train: {
      ...train,
      unetLearningRate: lora.unet
        ? fill('train.unetLearningRate', train.unetLearningRate, 'train.learningRate', rate)
        : fill('train.unetLearningRate', null, 'lora.unet', 0),
      textEncoderLearningRate: lora.textEncoder
        ? fill(textRate, train.textEncoderLearningRate, 'half of train.learningRate', rate / 2)
        : fill(textRate, null, 'lora.textEncoder', 0),
    },
    preview: {
      ...preview,
      enabled: fill(
        'preview.enabled',
        preview.enabled,
        'preview.prompts',
        preview.prompts.length > 0,
      ),
      prompts: preview.prompts.map((entry) =>
        typeof entry === 'string' ? { prompt: entry, negativePrompt: '', seed: null } : entry,
      ),
    },
    device: {
      ...file.device,
      libtorch: file.device.libtorch === null ? null : path(file.device.libtorch),
    },
    log: {
      ...file.log,
      file: path(
        fill('log.file', file.log.file, 'output.dir and output.name', join(runFolder, 'log.jsonl')),
      ),
    },
  };
  return { config, derived, hubModel };
}
