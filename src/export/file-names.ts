/** @file Names of adapter files, as kohya's tools give them, and which names work in a prompt. */

import { UserError } from '../tensor/user-error.ts';

const padded = (number: number, digits: number) => String(number).padStart(digits, '0');

/** File of a finished run: `name.safetensors`. */
export function finalFileName(name: string): string {
  return `${name}.safetensors`;
}

/** File saved after an epoch, counted from 1: `name-000002.safetensors`. */
export function epochFileName(name: string, epoch: number): string {
  return `${name}-${padded(epoch, 6)}.safetensors`;
}

/** File saved after a number of steps: `name-step00000100.safetensors`. */
export function stepFileName(name: string, step: number): string {
  return `${name}-step${padded(step, 8)}.safetensors`;
}

/** Most file systems allow 255 bytes; the rest is for `-step00000100.safetensors` and temporary names. */
const maxNameBytes = 180;

function whyNot(name: string): string | null {
  if (name.trim() === '') return 'it is empty';
  const char = /[:<>,]/.exec(name)?.[0];
  if (char) return `"${char}" has a meaning in the prompt <lora:name:weight>`;
  if (/[/\\]/.test(name)) return 'it is a name, not a path; the folder is set apart from it';
  const other = /["|?*]/.exec(name)?.[0];
  if (other) return `Windows does not allow ${other} in a file name`;
  if (/\p{Cc}/u.test(name)) return 'it has a control character';
  if (/^[.{\s]|[.\s]$/.test(name)) return 'it starts or ends with a space, a dot or a brace';
  if (name.toLowerCase() === 'none') return 'the web UI takes "none" for no LoRA at all';
  if (/^(con|prn|aux|nul|com\d|lpt\d)$/i.test(name)) return 'Windows keeps this name for itself';
  if (Buffer.byteLength(name) > maxNameBytes) return `it has more than ${maxNameBytes} bytes`;
  return null;
}

/**
 * Refuses an output name that could not be a file on every system, or not be used in a prompt.
 * @param name without `.safetensors`
 * @throws UserError with exit code 2
 */
export function checkOutputName(name: string): void {
  const reason = whyNot(name);
  if (!reason) return;
  throw new UserError(
    `the output name ${JSON.stringify(name)} can't be used: ${reason}; take letters, digits, - and _`,
    2,
  );
}
