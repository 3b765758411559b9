/** @file What is said before a run whose adapter some readers will apply at another strength. */

import type { AdapterFormat } from '../export/names/tensor-keys.ts';
import { scaleNotice } from '../export/scale-notice.ts';
import type { LoraLayout } from '../lora/lora-layout.ts';

const advice =
  'for them set lora.alpha to lora.rank (and lora.convAlpha to lora.convRank) or output.format: kohya, or convert the file with --fold-alpha';

/** Null where every reader applies the adapter as it was trained. */
export function hiddenScale(layouts: readonly LoraLayout[], format: AdapterFormat): string | null {
  const notice = scaleNotice(
    layouts.flatMap(({ slots }) => slots),
    format,
  );
  return notice && `${notice}: ${advice}`;
}
