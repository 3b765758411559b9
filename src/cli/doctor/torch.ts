/** @file libtorch: where it was found, its version and its devices. */

import type { UnsizedConfig } from '../../config/resolve-config.ts';
import { deviceText, lackOf, listDevices } from '../../runtime/torch/device.ts';
import {
  findAllLibtorch,
  findLibtorch,
  installCommand,
  isRecent,
} from '../../runtime/torch/find-libtorch.ts';
import type { TorchLibrary } from '../../runtime/torch/torch-library.ts';
import { loadTorch, torchChoice } from '../create-executor.ts';
import { type Finding, reasonOf } from './finding.ts';

const name = 'libtorch';

/** Other libtorch than the one in use, most wanted first. */
function others(search: { readonly path?: string; readonly webui?: string }, used: string): string {
  const rest = findAllLibtorch(search).filter(({ folder }) => folder !== used);
  if (rest.length === 0) return '';
  const list = rest.map(({ folder, version }) => {
    const age = isRecent(version) ? '' : ' (too old)';
    return `${version ?? 'unknown version'}${age} in ${folder}`;
  });
  return `; also ${list.join(', ')}`;
}

/** Why a build for CUDA has no GPU. */
function lackOfCuda(library: TorchLibrary): string {
  if (!library.hasCuda && library.cudaProblem === undefined) return '';
  return ` (${lackOf(library, { kind: 'cuda', index: 0 })})`;
}

/** Training needs no libtorch: that it is missing is worth a note. */
export async function torchFindings(config: UnsizedConfig | undefined): Promise<Finding[]> {
  const { path, webui } = config ? torchChoice(config) : {};
  const search = {
    ...(path === undefined ? {} : { path }),
    ...(webui === undefined ? {} : { webui }),
  };
  try {
    const found = findLibtorch(search);
    const { chooseTorch } = await loadTorch();
    const { library } = chooseTorch({ ...search, device: 'cpu' });
    const devices = listDevices(library).map(deviceText);
    const text = `${found.version ?? library.version.join('.')} in ${found.folder} (${found.source})`;
    const choose =
      devices.length > 1
        ? 'device.executor: auto uses the first; device.torchDevice names another'
        : `no GPU that it can use${lackOfCuda(library)}; set device.executor: torch to compute with it on the processor`;
    return [
      { verdict: 'good', name, text: `${text}${others(search, found.folder)}` },
      { verdict: 'good', name: 'its devices', text: devices.join(', '), advice: choose },
    ];
  } catch (error) {
    return [
      {
        verdict: 'note',
        name,
        text: reasonOf(error),
        advice: `not needed on the processor; for a GPU, once: ${installCommand()}`,
      },
    ];
  }
}
