/** @file The JSON Schema of a configuration file, for editors and for finding keys by path. */

import { z } from 'zod';
import { fileSchema } from './schema.ts';

/** The part of JSON Schema (draft 7) that our schema uses. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
  readonly multipleOf?: number;
  readonly minItems?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema | readonly JsonSchema[];
  readonly anyOf?: readonly JsonSchema[];
}

/** Draft 7, the newest that the editors' YAML language server reads in full. */
export const configJsonSchema = z.toJSONSchema(fileSchema, {
  io: 'input',
  target: 'draft-7',
}) as JsonSchema;

/** The alternatives of a schema; itself alone where it has none. */
export function alternatives(schema: JsonSchema): readonly JsonSchema[] {
  if (schema.anyOf) return schema.anyOf.flatMap(alternatives);
  const { type } = schema;
  return Array.isArray(type) ? type.map((one) => ({ ...schema, type: one })) : [schema];
}

/** The keys of a section, or of each entry of a list; empty for a value. */
export function keysOf(schema: JsonSchema | undefined): Readonly<Record<string, JsonSchema>> {
  return (schema && alternatives(schema).find((option) => option.properties)?.properties) ?? {};
}

/** What a list's entries look like, or undefined where the schema is no plain list. */
function entryOf(schema: JsonSchema | undefined): JsonSchema | undefined {
  const list = schema && alternatives(schema).find((option) => option.type === 'array');
  const items = list?.items;
  return Array.isArray(items) ? items[0] : (items as JsonSchema | undefined);
}

/** The schema at a path such as `['data', 'folders', 0, 'path']`, or undefined. */
export function schemaAt(path: readonly PropertyKey[]): JsonSchema | undefined {
  let schema: JsonSchema | undefined = configJsonSchema;
  for (const part of path) {
    const keys: Readonly<Record<string, JsonSchema>> = keysOf(schema);
    if (typeof part === 'number') schema = entryOf(schema);
    else schema = Object.hasOwn(keys, part) ? keys[String(part)] : undefined;
  }
  return schema;
}

/** A key as it is shown: its path with `[]` for the entries of a list, and its schema. */
export interface NamedKey {
  readonly path: string;
  readonly schema: JsonSchema;
}

/** All keys below `schema`, sections before their keys. */
export function allKeys(schema: JsonSchema = configJsonSchema, prefix = ''): readonly NamedKey[] {
  return Object.entries(keysOf(schema)).flatMap(([key, inner]) => {
    const path = prefix + key;
    const entry = entryOf(inner);
    return [
      { path, schema: inner },
      ...allKeys(inner, `${path}.`),
      ...(entry ? allKeys(entry, `${path}[].`) : []),
    ];
  });
}
