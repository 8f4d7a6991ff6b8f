/** What is wrong with a value by its schema: the place, what was expected there and what was found, in words. */
import type { TSchema } from 'typebox';
import { Settings } from 'typebox/system';
import { type Described, expectation } from './expectation.js';
import { suggestion } from './nearest.js';

// Eight, the default, may not reach the fault to report: every alternative of a union adds its own.
Settings.Set({ maxErrors: 256 });

/** One fault as TypeBox reports it. */
export interface Fault {
  keyword: string;
  /** JSON pointers (`#/properties/stop/anyOf/1`, `/stop/3`). */
  schemaPath: string;
  instancePath: string;
  params: object;
}

export interface Complaint {
  kind: 'missing' | 'unknown' | 'invalid';
  /** As in `messages[0].content`; empty for the whole value. */
  path: string;
  /** `unknown`: the nearest name there is, if one is near; `invalid`: what was expected and found. */
  detail: string;
}

/** `faults`: all that TypeBox reports of a value that its schema refuses. */
export function complaint(schema: TSchema, value: unknown, faults: Fault[]): Complaint {
  const fault = decisive(faults);
  const path = readable(fault.instancePath);
  if (fault.keyword === 'required') {
    const [name = ''] = (fault.params as { requiredProperties: string[] }).requiredProperties;
    return { kind: 'missing', path: join(path, name), detail: '' };
  }
  if (fault.keyword === 'additionalProperties') {
    const [name = ''] = (fault.params as { additionalProperties: string[] }).additionalProperties;
    const names = Object.keys(schemaAt(schema, fault.schemaPath).properties ?? {});
    return { kind: 'unknown', path: join(path, name.slice(0, 100)), detail: suggestion(name, names) };
  }
  const expected = expectation(schemaAt(schema, fault.schemaPath));
  const found = show(valueAt(value, fault.instancePath));
  return { kind: 'invalid', path, detail: `expected ${expected}, got ${found}` };
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
