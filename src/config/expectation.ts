/** What a schema asks for, in words, for messages and help: `an integer from 0 to 65535`. */
import { formatBytes } from './units.js';

/** What the schemas of this project use of JSON Schema. */
export interface Described {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Described[];
  items?: Described;
  properties?: Record<string, Described>;
  format?: string;
  default?: unknown;
  description?: string;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  minLength?: number;
  minItems?: number;
  maxItems?: number;
}

export function expectation(schema: Described): string {
  if (schema.anyOf) return alternatives(schema.anyOf.map(expectation));
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return alternatives(schema.enum.map((value) => JSON.stringify(value)));
  const noun = nouns[schema.format ?? ''] ?? nouns[schema.type ?? ''] ?? 'a value';
  if (schema.type === 'array') return array(schema);
  const kind = schema.properties?.type?.const;
  if (kind !== undefined) return `an object of type ${JSON.stringify(kind)}`;
  if (schema.type === 'string' && schema.minLength)
    return schema.format === 'path' ? noun : 'a non-empty string';
  const write = (bound: number) => (schema.format === 'bytes' ? formatBytes(bound) : String(bound));
  const below = schema.minimum === undefined && schema.exclusiveMinimum === undefined ? '' : ' and';
  return [
    noun,
    schema.minimum === undefined ? '' : ` from ${write(schema.minimum)}`,
    schema.exclusiveMinimum === undefined ? '' : ` above ${write(schema.exclusiveMinimum)}`,
    schema.maximum === undefined
      ? ''
      : ` ${schema.exclusiveMinimum === undefined ? 'to' : 'and at most'} ${write(schema.maximum)}`,
    schema.exclusiveMaximum === undefined ? '' : `${below} below ${write(schema.exclusiveMaximum)}`,
  ].join('');
}

const nouns: Record<string, string> = {
  bytes: 'a size (such as 512MiB or 4GiB)',
  seconds: 'a time in seconds (or such as 500ms, 2m)',
  path: 'a path',
  string: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'true or false',
  object: 'an object',
  null: 'null',
};

function array(schema: Described): string {
  const { minItems = 0, maxItems } = schema;
  const size = maxItems === undefined ? (minItems > 0 ? ' non-empty' : '') : '';
  const bounds = maxItems === undefined ? '' : ` of ${minItems} to ${maxItems} items`;
  return `${size ? 'a' : 'an'}${size} array${bounds}${schema.items ? `, each ${expectation(schema.items)}` : ''}`;
}

function alternatives(parts: string[]): string {
  const unique = [...new Set(parts)];
  return unique.length < 2 ? unique.join('') : `${unique.slice(0, -1).join(', ')} or ${unique.at(-1)}`;
}
