/** @file Recognises files that are often given for a safetensors file and says what to do. */

import { oneLine } from './file-error.ts';

const convertToSafetensors =
  "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], map_location='cpu', weights_only=True); " +
  "d = d.get('state_dict', d); s.save_file({k: v.clone().contiguous() for k, v in d.items() if hasattr(v, 'shape')}, sys.argv[2])";

const startsWith = (bytes: Uint8Array, text: string) =>
  Buffer.from(bytes.subarray(0, text.length)).toString('latin1').toLowerCase() === text;

/**
 * What a file is, by its first bytes, where it is not safetensors but something well known.
 * @param head the first bytes of the file
 * @returns the rest of a message that starts with the path, or null
 */
export function foreignFormat(head: Uint8Array, path: string): string | null {
  // The ninth byte of a safetensors file is the header's brace; its length may look like any magic.
  if (head[8] === 0x7b) return null;
  const zip = startsWith(head, 'pk\x03\x04');
  const pickle = head[0] === 0x80 && head[1] !== undefined && head[1] >= 2 && head[1] <= 5;
  if (zip || pickle) {
    const source = oneLine(path);
    const target = `${source.replace(/\.(ckpt|pth?|bin|pkl|zip)$/i, '')}.safetensors`;
    return (
      'this is a pickle (.ckpt, .pt), which can run any program when it is opened, so it is not read. ' +
      'Convert it once to safetensors, in the Python of your web UI: ' +
      `python -c "${convertToSafetensors}" "${source}" "${target}" ` +
      "(or save it as safetensors with the web UI's Checkpoint Merger, no interpolation)"
    );
  }
  if (startsWith(head, 'version https://git-lfs')) {
    return 'this is a Git LFS pointer, not the file itself; run `git lfs pull` or download the file';
  }
  if (startsWith(head, '<!doctype') || startsWith(head, '<html')) {
    return 'this is a web page, not a model; the download gave an error page, so download it again';
  }
  if (startsWith(head, 'gguf')) return 'this is a GGUF file; a .safetensors checkpoint is expected';
  return null;
}
