/** @file The names of parameters that hold several of a checkpoint's, one after the other. */

const separator = '+';

/** The name of the parameters of these names, one after the other along their first dimension. */
export const joinedName = (names: readonly string[]): string => names.join(separator);

/** The parameters that one is joined of; of any other, its own name. */
export const partsOfName = (name: string): string[] => name.split(separator);
