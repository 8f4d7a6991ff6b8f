/** From a row to an example. */
import { lastBoxed } from '../../answers/boxed.js';
import { suggestion } from '../../config/nearest.js';
import type { Example } from '../examples.js';
import { DataError } from './error.js';
import type { Row } from './rows.js';

export const COLUMNS = ['question', 'answer', 'system', 'response'] as const;
type Name = (typeof COLUMNS)[number];

/** By name here, the name in the file. */
export type Columns = { [name in Name]?: string | undefined };

/** What to read of a file. */
export function sourceColumns(columns: Columns): string[] {
  return COLUMNS.map((name) => columns[name] ?? name);
}

/**
 * A question is a text. An answer is a text, a number or a list of these; of a text with a `\boxed{}`, such as a worked
 * solution, it is what the last one holds. System and response are texts, or not there.
 */
export function exampleOf(row: Row, columns: Columns, path: string): Example {
  const fail = (name: Name, expected: string): never => {
    const column = columns[name] ?? name;
    const value = row.values[column];
    const others = row.columns ?? Object.keys(row.values);
    throw new DataError(
      path,
      Object.hasOwn(row.values, column)
        ? `${row.place}: expected ${JSON.stringify(column)} to be ${expected}, found ${describe(value)}`
        : `${row.place}: no column ${JSON.stringify(column)} for the ${name}; there are ${others.join(', ') || 'none'}${suggestion(column, others)}`,
    );
  };
  const value = (name: Name): unknown => row.values[columns[name] ?? name];
  const text = (name: Name): string | undefined => {
    const given = value(name);
    if (given === undefined || given === null) return undefined;
    return typeof given === 'string' ? given : fail(name, 'a text');
  };
  const question = text('question');
  const answer = answerText(value('answer'));
  return {
    question: question?.trim() ? question : fail('question', 'a text that is not empty'),
    answer: answer ?? fail('answer', 'a text that is not empty, a number, or a list of these'),
    system: text('system'),
    response: text('response'),
  };
}

function answerText(value: unknown): string | undefined {
  if (Array.isArray(value)) {
    const elements = value.map(answerText);
    return value.length > 0 && !elements.includes(undefined) ? elements.join(', ') : undefined;
  }
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value)))
    return String(value);
  if (typeof value !== 'string') return undefined;
  const answer = value.includes('\\boxed{') ? lastBoxed(value) : value;
  return answer?.trim() ? answer : undefined;
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'string')
    return value.trim() === '' ? 'an empty text' : JSON.stringify(value.slice(0, 60));
  return typeof value === 'object' ? 'an object' : String(value);
}
