/** Requests against their schemas, with errors that name the place, what was expected and what was found. */
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { type Described, expectation } from '../config/expectation.js';
import { suggestion } from '../config/nearest.js';
import { ApiError } from './errors.js';

// Eight, the default, may not reach the fault to report: every alternative of a union adds its own.
Settings.Set({ maxErrors: 256 });

/** One fault as TypeBox reports it. */
interface Fault {
  keyword: string;
  /** JSON pointers (`#/properties/stop/anyOf/1`, `/stop/3`). */
  schemaPath: string;
  instancePath: string;
  params: object;
}

/** Returns the value as its type, or throws an ApiError. */
export type Validator<T extends TSchema> = (value: unknown) => Static<T>;

/** `refused`: fields that exist elsewhere and are not supported here, with the reason. */
export function validator<T extends TSchema>(
  schema: T,
  refused: ReadonlyMap<string, string> = new Map(),
): Validator<T> {
  const compiled = Compile(schema);
  return (given) => {
    const value = withoutNulls(given);
    if (!compiled.Check(value)) throw explain(schema, value, compiled.Errors(value) as Fault[], refused);
    return value as Static<T>;
  };
}

// A template's arguments are the client's own: null means null there.
const opaque = new Set(['chat_template_kwargs', 'metadata']);

// No field needs more; deeper nesting would only cost stack.
const maxDepth = 96;

/** A null member is an absent one, as OpenAI has it. */
function withoutNulls(value: unknown, keep = false, depth = 0): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > maxDepth)
    throw new ApiError('invalid_value', `the body is nested deeper than ${maxDepth} levels`);
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, keep, depth + 1));
  const entries = Object.entries(value).filter(([, member]) => keep || member !== null);
  return Object.fromEntries(
    entries.map(([key, member]) => [key, withoutNulls(member, keep || opaque.has(key), depth + 1)]),
  );
}

function explain(
  schema: TSchema,
  value: unknown,
  faults: Fault[],
  refused: ReadonlyMap<string, string>,
): ApiError {
  const fault = decisive(faults);
  const path = readable(fault.instancePath);
  if (fault.keyword === 'required') {
    const [name = ''] = (fault.params as { requiredProperties: string[] }).requiredProperties;
    const field = join(path, name);
    return new ApiError('missing_field', `${field} is required`, field);
  }
  if (fault.keyword === 'additionalProperties') {
    const [name = ''] = (fault.params as { additionalProperties: string[] }).additionalProperties;
    const field = join(path, name.slice(0, 100));
    const reason = refused.get(field);
    if (reason !== undefined)
      return new ApiError('unsupported_field', `${field} is not supported: ${reason}`, field);
    const names = Object.keys(schemaAt(schema, fault.schemaPath).properties ?? {});
    return new ApiError('unknown_field', `unknown field ${field}${suggestion(name, names)}`, field);
  }
  const expected = expectation(schemaAt(schema, fault.schemaPath));
  const found = show(valueAt(value, fault.instancePath));
  return new ApiError(
    'invalid_value',
    `${path || 'the body'}: expected ${expected}, got ${found}`,
    path || null,
  );
}

/**
 * The fault to report. Of a union, the faults of the one alternative whose type fits (an array where an array may
 * stand), else the union's own.
 */
function decisive(faults: Fault[]): Fault {
  const unions = faults.filter((fault) => fault.keyword === 'anyOf');
  // The outermost union has the shortest schema path and stands after its alternatives' faults.
  const union = unions.sort((a, b) => a.schemaPath.length - b.schemaPath.length)[0];
  const outside = faults.find((fault) => fault.keyword !== 'boolean' && !within(fault, union));
  if (union === undefined || (outside !== undefined && outside !== union)) {
    return outside ?? (faults[0] as Fault);
  }
  const alternatives = new Map<string, Fault[]>();
  for (const fault of faults.filter((fault) => within(fault, union))) {
    const index = fault.schemaPath.slice(union.schemaPath.length).split('/')[2] ?? '';
    alternatives.set(index, [...(alternatives.get(index) ?? []), fault]);
  }
  const fitting = [...alternatives.values()].filter(
    (group) => !group.some((fault) => rulesOut(fault, union.instancePath)),
  );
  return fitting.length === 1 && fitting[0] ? decisive(fitting[0]) : union;
}

/** Whether the value at `path` is of another kind altogether: its type, or the `type` member that tells kinds apart. */
function rulesOut(fault: Fault, path: string): boolean {
  if (fault.instancePath === path) return ['type', 'const', 'enum'].includes(fault.keyword);
  return fault.instancePath === `${path}/type` && fault.keyword === 'const';
}

function within(fault: Fault, union: Fault | undefined): boolean {
  return union !== undefined && fault.schemaPath.startsWith(`${union.schemaPath}/anyOf/`);
}

/** The part of a schema that a fault names; references are followed. */
function schemaAt(root: unknown, pointer: string): Described {
  let definitions: Record<string, unknown> = {};
  const follow = (node: unknown) => {
    const schema = node as { $defs?: Record<string, unknown>; $ref?: string } | undefined;
    definitions = schema?.$defs ?? definitions;
    return schema?.$ref === undefined ? node : definitions[schema.$ref];
  };
  const found = segments(pointer).reduce((node, key) => follow(member(node, key)), follow(root)) as Described;
  return found.anyOf ? { ...found, anyOf: found.anyOf.map((one) => follow(one) as Described) } : found;
}

function valueAt(root: unknown, pointer: string): unknown {
  return segments(pointer).reduce(member, root);
}

function member(node: unknown, key: string): unknown {
  return (node as Record<string, unknown> | undefined)?.[key];
}

/** `messages[0].content` of `/messages/0/content`. */
function readable(pointer: string): string {
  return segments(pointer).reduce(join, '');
}

function join(path: string, key: string): string {
  if (/^\d+$/.test(key)) return `${path}[${key}]`;
  return path === '' ? key : `${path}.${key}`;
}

function segments(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function show(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value === 'object' && value !== null) {
    return 'type' in value ? `an object of type ${show(value.type)}` : 'an object';
  }
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
