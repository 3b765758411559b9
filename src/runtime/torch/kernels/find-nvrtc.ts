/**
 * @file Finds NVIDIA's compiler for kernels, NVRTC, beside libtorch, whose packages bring it with them: in
 * torch's own folder or in the folders of NVIDIA's packages; else where the system has it.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The libraries' files; `builtins` has to be loaded first, where it is known. */
export interface NvrtcFiles {
  readonly compiler: string;
  readonly builtins: string | undefined;
}

const entriesOf = (folder: string): string[] => {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
};

const patterns = {
  win32: { compiler: /^nvrtc64_\d+_\d+\.dll$/, builtins: /^nvrtc-builtins64_\d+\.dll$/ },
  linux: {
    compiler: /^libnvrtc(-[0-9a-f]+)?\.so\.\d+(\.\d+)*$/,
    builtins: /^libnvrtc-builtins\.so/,
  },
} as const;

/** The folders of NVIDIA's packages: site-packages/nvidia/cu13/lib, site-packages/nvidia/cuda_nvrtc/lib. */
function packageFolders(torchFolder: string): string[] {
  const nvidia = join(torchFolder, '..', '..', 'nvidia');
  return entriesOf(nvidia).flatMap((name) => ['lib', 'bin'].map((sub) => join(nvidia, name, sub)));
}

/**
 * What may be the compiler, the likeliest first.
 * @param torchFolder the folder of libtorch's libraries
 */
export function nvrtcCandidates(
  torchFolder: string,
  platform: NodeJS.Platform = process.platform,
): NvrtcFiles[] {
  const pattern = platform === 'win32' ? patterns.win32 : patterns.linux;
  const beside = [torchFolder, ...packageFolders(torchFolder)].flatMap((folder) => {
    const names = entriesOf(folder);
    const builtins = names.find((name) => pattern.builtins.test(name));
    return names
      .filter((name) => pattern.compiler.test(name))
      .map((name) => ({
        compiler: join(folder, name),
        builtins: builtins && join(folder, builtins),
      }));
  });
  const system = platform === 'win32' ? [] : ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'];
  return [...beside, ...system.map((compiler) => ({ compiler, builtins: undefined }))];
}
