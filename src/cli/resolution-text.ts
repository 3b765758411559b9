/** @file The size of a run's pictures in words, and where it comes from. */

import type { UnsizedConfig } from '../config/resolve-config.ts';
import { sizeConfig } from '../config/size-config.ts';
import type { ForeseenSettings } from '../train/base-settings.ts';

/** `1024×1024, as the base was made` */
export function resolutionText(
  config: UnsizedConfig,
  { resolution, needsTrial }: Pick<ForeseenSettings, 'resolution' | 'needsTrial'>,
): string {
  const size = sizeConfig(config, resolution).data.resolution.join('×');
  if (config.data.resolution !== null) return size;
  if (resolution === null) return `${size}, as nothing tells the base's`;
  if (!needsTrial) return `${size}, as the base was made`;
  return `at most ${size}: as the base was made, which is tried when training starts`;
}
