/** @file Looks for libtorch: where the configuration or SDL_TORCH says, in Python environments, in a web UI's. */

import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { UserError } from '../../tensor/user-error.ts';

/** A folder with libtorch's libraries. */
export interface FoundLibtorch {
  readonly folder: string;
  /** As the package states it, such as 2.13.0+cpu; null where it does not say. */
  readonly version: string | null;
  /** Who named the place. */
  readonly source: string;
}

/** Where to look, besides the environment. */
export interface SearchOptions {
  /** A folder of libtorch, of a Python environment or of site-packages. */
  readonly path?: string | undefined;
  /** Root folder of a web UI. */
  readonly webui?: string | undefined;
}

export interface SearchContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly cwd: string;
}

/** The first version whose dispatcher can be called (torch_call_dispatcher). */
const oldestVersion = [2, 10] as const;

/** Turing, times ten: the oldest that builds for CUDA 13 have kernels for (PyTorch's RELEASE.md, CUDA support matrix). */
const turing = 75;
/** The CUDA that drivers run, of those builds. */
const newestCuda = 13;

/** What is known of a GPU and its driver. */
interface KnownGpu {
  /** Compute capability times ten. */
  readonly capability?: number | undefined;
  /** The newest CUDA that the driver runs, such as 12.8. */
  readonly cuda?: string;
}

/**
 * Puts a libtorch where it is looked for, in place of one that is there. What pip has by itself is for CUDA 13, and on
 * Windows for the processor alone.
 */
export function installCommand(
  platform: NodeJS.Platform = process.platform,
  { capability = turing, cuda = `${newestCuda}` }: KnownGpu = {},
): string {
  const isOld = capability < turing || Number(cuda) < newestCuda;
  const build = isOld ? 'cu126' : platform === 'win32' ? 'cu130' : undefined;
  const index = build ? ` --index-url https://download.pytorch.org/whl/${build}` : '';
  // pip would leave one of the same version for the processor, or for another CUDA, where it is.
  const install = `pip install --force-reinstall "torch>=2.10"${index}`;
  // PowerShell of Windows has no &&.
  return platform === 'win32'
    ? `py -m venv .venv, then .venv\\Scripts\\${install}`
    : `python3 -m venv .venv && .venv/bin/${install}`;
}

/** The file name of one of libtorch's libraries. */
export function libraryFile(name: string, platform: NodeJS.Platform = process.platform): string {
  if (platform === 'win32') return `${name}.dll`;
  return platform === 'darwin' ? `lib${name}.dylib` : `lib${name}.so`;
}

const thisMachine = (): SearchContext => ({
  env: process.env,
  platform: process.platform,
  home: homedir(),
  cwd: process.cwd(),
});

const entriesOf = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

/** Folders in which a Python installation at `prefix` keeps packages. */
function packageFolders(prefix: string): string[] {
  const folders = [join(prefix, 'Lib', 'site-packages')];
  for (const lib of ['lib', 'lib64', join('local', 'lib')]) {
    for (const python of entriesOf(join(prefix, lib)).filter((name) =>
      name.startsWith('python3'),
    )) {
      for (const kind of ['site-packages', 'dist-packages']) {
        folders.push(join(prefix, lib, python, kind));
      }
    }
  }
  return folders;
}

/** Folders that may hold the libraries where `place` is any folder that a user would name. */
function libraryFolders(place: string): string[] {
  return [
    place,
    join(place, 'lib'),
    join(place, 'torch', 'lib'),
    ...packageFolders(place).map((folder) => join(folder, 'torch', 'lib')),
  ];
}

/** Prefixes of the Python installations on PATH. */
function pythonsOnPath({ env, platform }: SearchContext): string[] {
  const names = platform === 'win32' ? ['python.exe'] : ['python3', 'python'];
  const prefixes: string[] = [];
  for (const folder of (env['PATH'] ?? env['Path'] ?? '').split(delimiter).filter(Boolean)) {
    for (const program of names.map((name) => join(folder, name)).filter((p) => existsSync(p))) {
      // A link in an environment's own bin folder belongs to it, not to where it leads.
      for (const path of [program, realpathSync(program)]) {
        prefixes.push(platform === 'win32' ? dirname(path) : dirname(dirname(path)));
      }
    }
  }
  return prefixes;
}

/** Every place to look, most wanted first. */
function places(options: SearchOptions, context: SearchContext): [source: string, place: string][] {
  const { env, home, cwd } = context;
  const list: [string, string | undefined][] = [
    ['device.libtorch', options.path],
    ['SDL_TORCH', env['SDL_TORCH']],
    ['VIRTUAL_ENV', env['VIRTUAL_ENV']],
    ['CONDA_PREFIX', env['CONDA_PREFIX']],
    ['.venv of this folder', join(cwd, '.venv')],
    ...pythonsOnPath(context).map((place): [string, string] => ['python3 on PATH', place]),
    ['packages of this user', join(home, '.local')],
  ];
  const { webui } = options;
  if (webui !== undefined) {
    const portable = [
      'python_embeded',
      join('..', 'python_embeded'),
      join('..', 'system', 'python'),
    ];
    for (const name of ['venv', '.venv', 'env', ...portable]) {
      list.push(['the web UI', join(webui, name)]);
    }
  }
  return list.flatMap(([source, place]): [string, string][] => (place ? [[source, place]] : []));
}

function versionOf(folder: string): string | null {
  const root = dirname(folder);
  for (const [file, pattern] of [
    ['version.py', /__version__\s*=\s*['"]([^'"]+)/],
    ['build-version', /^(\S+)/],
  ] as const) {
    try {
      const version = pattern.exec(readFileSync(join(root, file), 'utf8'))?.[1];
      if (version !== undefined) return version;
    } catch {
      // The other file may be there.
    }
  }
  return null;
}

/** Whether a version such as 2.13.0+cu130 will do; one that is not known is tried. */
export function isRecent(version: string | null): boolean {
  const parts = /^(\d+)\.(\d+)/.exec(version ?? '');
  if (!parts) return true;
  const [major, minor] = [Number(parts[1]), Number(parts[2])];
  return major > oldestVersion[0] || (major === oldestVersion[0] && minor >= oldestVersion[1]);
}

/** Whether there are libraries for a GPU beside it; on a Mac they are part of it. Nothing is loaded. */
export function mayHaveGpu(
  { folder }: FoundLibtorch,
  platform: NodeJS.Platform = process.platform,
): boolean {
  if (platform === 'darwin') return true;
  return ['torch_cuda', 'torch_hip', 'torch_xpu'].some((name) =>
    existsSync(join(folder, libraryFile(name, platform))),
  );
}

/** Every libtorch that is found, recent or not; a folder is listed once. */
export function findAllLibtorch(
  options: SearchOptions = {},
  context: SearchContext = thisMachine(),
): FoundLibtorch[] {
  const file = libraryFile('torch_cpu', context.platform);
  const found = new Map<string, FoundLibtorch>();
  for (const [source, place] of places(options, context)) {
    for (const folder of libraryFolders(place)) {
      if (!existsSync(join(folder, file))) continue;
      const real = realpathSync(folder);
      if (!found.has(real)) found.set(real, { folder: real, version: versionOf(real), source });
    }
  }
  return [...found.values()];
}

/**
 * The libtorch to use: the first that is recent enough, one for GPUs before one for the processor. One that the user
 * names must be.
 * @throws UserError where there is none, with the command that installs it
 */
export function findLibtorch(
  options: SearchOptions = {},
  context: SearchContext = thisMachine(),
): FoundLibtorch {
  const all = findAllLibtorch(options, context);
  const [name, place] =
    options.path !== undefined
      ? (['device.libtorch', options.path] as const)
      : (['SDL_TORCH', context.env['SDL_TORCH']] as const);
  const wanted = place ? all.filter(({ source }) => source === name) : all;
  const good = wanted.filter(({ version }) => isRecent(version));
  const best = good.find((found) => mayHaveGpu(found, context.platform)) ?? good[0];
  if (best) return best;
  const needed = `libtorch ${oldestVersion.join('.')} or newer is needed`;
  const install = `install it with: ${installCommand(context.platform)}`;
  if (wanted.length > 0) {
    const old = wanted.map(({ folder, version }) => `${version} in ${folder}`).join(', ');
    throw new UserError(`found libtorch ${old}; ${needed}; ${install}`);
  }
  const where = place
    ? `${name}: there is no ${libraryFile('torch_cpu', context.platform)} in or below ${place}`
    : 'no libtorch was found (looked in SDL_TORCH, the active Python environment, .venv, python3 on PATH, the web UI)';
  throw new UserError(`${where}; ${needed}; ${install}`);
}
