/** @file The names of parameters that are made of several of a checkpoint's. */

const separator = '+';
const plus = '&';

/** The parameters of these names, one after the other along their first dimension. */
export const joinedName = (names: readonly string[]): string => names.join(separator);

/** The sum of the parameters of these names, which have one shape. */
export const summedName = (names: readonly string[]): string => names.join(plus);

/** What a parameter is made of: the parts that are joined, each the terms of a sum. */
export const partsOfName = (name: string): string[][] =>
  name.split(separator).map((part) => part.split(plus));
