/** @file What is lost to some readers where alpha is not the rank, in forms that have no tensor for it. */

import type { AdapterFormat } from './names/tensor-keys.ts';

/** A layer's scale is alpha / rank. */
interface Scale {
  readonly rank: number;
  readonly alpha: number;
}

const rounded = (value: number) => String(Number(value.toPrecision(3)));

/**
 * Who reads the alphas of a file in this form, and what others make of it; null where all read them.
 * Without one, readers take the rank, so that the adapter's change is rank / alpha of what it was.
 */
export function scaleNotice(layers: readonly Scale[], format: AdapterFormat): string | null {
  const scaled = layers.filter(({ rank, alpha }) => alpha !== rank);
  if (format === 'kohya' || scaled.length === 0) return null;
  const strengths = scaled.map(({ rank, alpha }) => rank / alpha);
  const [least, most] = [Math.min(...strengths), Math.max(...strengths)].map(rounded);
  const strength = least === most ? least : `${least} to ${most}`;
  const which = scaled.length === layers.length ? '' : ` in ${scaled.length} of its layers`;
  return (
    `alpha is not the rank${which}, and the form ${format} has no tensor for it: it stands in the metadata ` +
    '(lora_adapter_metadata), which recent versions of diffusers read. Web UIs and older versions will apply these ' +
    `layers at ${strength} times their strength`
  );
}
