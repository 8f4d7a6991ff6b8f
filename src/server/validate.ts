/** Requests against their schemas, with errors that name the place, what was expected and what was found. */
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { complaint, type Fault } from '../config/faults.js';
import { ApiError } from './errors.js';

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
  const { kind, path, detail } = complaint(schema, value, faults);
  if (kind === 'missing') return new ApiError('missing_field', `${path} is required`, path);
  const reason = refused.get(path.replaceAll(/\[\d+\]/g, '[]'));
  if (reason !== undefined)
    return new ApiError('unsupported_field', `${path} is not supported: ${reason}`, path);
  if (kind === 'invalid')
    return new ApiError('invalid_value', `${path || 'the body'}: ${detail}`, path || null);
  return new ApiError('unknown_field', `unknown field ${path}${detail}`, path);
}
