/** @file The families of models that can be trained. A new one is a folder here, and a line below. */

import type { FamilyId, ModelFamily } from './model-family.ts';
import { sd1 } from './sd1/family.ts';
import { sd2 } from './sd2/family.ts';
import { sdxl } from './sdxl/family.ts';

export const families: { readonly [F in FamilyId]: ModelFamily } = { sd1, sd2, sdxl };
