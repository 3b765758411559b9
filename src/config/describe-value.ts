/** @file In words: what a value is, and what the schema expects in its place. */

import { alternatives, type JsonSchema } from './config-json-schema.ts';
import { nearest } from './suggest-key.ts';

const maxShown = 60;

/** What was found, such as `"fast"`, `nothing` or `a list`. */
export function describeFound(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a section';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > maxShown ? `${value.slice(0, maxShown)}…` : value);
}

function list(words: readonly string[]): string {
  const head = words.slice(0, -1).join(', ');
  return head ? `${head} or ${words.at(-1)}` : (words[0] ?? '');
}

function describeNumber(schema: JsonSchema): string {
  const what = schema.type === 'integer' ? 'a whole number' : 'a number';
  const multiple = schema.multipleOf ? `, a multiple of ${schema.multipleOf}` : '';
  const { exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  const max = schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum;
  const low = above === undefined ? schema.minimum : above;
  const lowWords = above === undefined ? `${low} or more` : `above ${low}`;
  const highWords = below === undefined ? `at most ${max}` : `below ${below}`;
  if (low === undefined) return what + multiple;
  if (max === undefined && below === undefined) return `${what}, ${lowWords}${multiple}`;
  if (above === undefined && below === undefined) return `${what} from ${low} to ${max}${multiple}`;
  return `${what}, ${lowWords} and ${highWords}${multiple}`;
}

function describeOne(schema: JsonSchema): string {
  if (schema.enum) return `one of ${list(schema.enum.map(String))}`;
  if (schema.const !== undefined) return String(schema.const);
  switch (schema.type) {
    case 'integer':
    case 'number':
      return describeNumber(schema);
    case 'boolean':
      return 'true or false';
    case 'string':
      return 'a text';
    case 'null':
      return 'null';
    case 'array':
      if (Array.isArray(schema.items)) return `a list of ${schema.items.length} such numbers`;
      return `a list${schema.minItems ? ' with at least one entry' : ''}`;
    default: {
      const keys = Object.keys(schema.properties ?? {});
      return keys.length > 0
        ? `a section with keys such as ${keys.slice(0, 3).join(', ')}`
        : 'a value';
    }
  }
}

/** What a schema allows, such as `a whole number from 1 to 1024`; `null` is not mentioned. */
export function describeExpected(schema: JsonSchema): string {
  return list(
    alternatives(schema)
      .filter((option) => option.type !== 'null')
      .map(describeOne),
  );
}

/** The likely reason of a wrong value, or an empty text. */
export function hintFor(value: unknown, schema: JsonSchema): string {
  const options = alternatives(schema);
  const accepts = (...types: readonly string[]) =>
    options.some((option) => types.includes(option.type ?? ''));
  if ((typeof value === 'number' || typeof value === 'boolean') && accepts('string')) {
    const choices = options.flatMap((option) => option.enum ?? []);
    return choices.length > 0 ? '' : `put it in quotes: "${value}"`;
  }
  if (typeof value === 'number' && accepts('array') && !accepts('integer', 'number')) {
    return `write it as a list: [${value}]`;
  }
  if (value === '') return 'it is empty';
  if (typeof value === 'string') {
    const choices = options.flatMap((option) => option.enum ?? []);
    const near = nearest(value, choices.map(String));
    if (near) return `did you mean ${near}?`;
    if (accepts('boolean') && /^(yes|on|y)$/i.test(value)) return 'write true';
    if (accepts('boolean') && /^(no|off|n)$/i.test(value)) return 'write false';
    const number = value.trim() === '' ? Number.NaN : Number(value.replace(/[_, ]/g, ''));
    if (accepts('integer', 'number') && Number.isFinite(number)) {
      return `write ${number} without quotes or separators`;
    }
    if (accepts('array')) return `write it as a list: [${JSON.stringify(value)}]`;
  }
  if (value === null && schema.default !== undefined) {
    return `leave the key out for the default, ${JSON.stringify(schema.default)}`;
  }
  return '';
}
