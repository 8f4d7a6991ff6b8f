import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteFile } from 'hyparquet-writer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DataError } from '../../../src/train/data/error.js';
import { type DataFile, readExamples } from '../../../src/train/data/read.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'data-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string, columns?: DataFile['columns']): DataFile {
  const path = join(folder, name);
  writeFileSync(path, content);
  return { path, columns };
}

const ROWS = Array.from({ length: 20 }, (_, i) => ({ question: `q${i}`, answer: `${i}` }));
const lines = (rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join('\n');

describe('readExamples', () => {
  it('reads JSONL, with blank lines and a byte order mark', async () => {
    const examples = await readExamples([
      file(
        'a.jsonl',
        `\ufeff${lines([{ question: 'q', answer: 1.5, id: 3 }])}\n\n{"question":"r","answer":"2"}\r\n`,
      ),
    ]);
    expect(examples).toEqual([
      { question: 'q', answer: '1.5' },
      { question: 'r', answer: '2' },
    ]);
  });

  it('reads JSON: an array, or an object that holds one', async () => {
    const array = file('a.json', JSON.stringify(ROWS));
    const object = file('b.json', JSON.stringify({ version: 1, rows: ROWS }));
    expect(await readExamples([array])).toEqual(ROWS);
    expect(await readExamples([array, object])).toEqual([...ROWS, ...ROWS]);
  });

  it.each(['SNAPPY', 'UNCOMPRESSED'] as const)('reads Parquet (%s)', async (codec) => {
    const path = join(folder, `${codec}.parquet`);
    await parquetWriteFile({
      filename: path,
      codec,
      columnData: [
        { name: 'problem', data: ['p', 'é'], type: 'STRING' },
        { name: 'answer', data: [2n ** 60n, 7n], type: 'INT64' },
        { name: 'other', data: [1, 2], type: 'DOUBLE' },
        { name: 'note', data: ['s', null], type: 'STRING', nullable: true },
      ],
    });
    expect(await readExamples([{ path, columns: { question: 'problem', system: 'note' } }])).toEqual([
      { question: 'p', answer: '1152921504606846976', system: 's' },
      { question: 'é', answer: '7' },
    ]);
    await expect(readExamples([{ path }])).rejects.toThrow(
      /row 1: no column "question" for the question; there are problem, answer, other, note$/,
    );
    await expect(readExamples([{ path, columns: { question: 'no', answer: 'ne' } }])).rejects.toThrow(
      /row 1: no column "no" for the question; there are problem, answer, other, note/,
    );
  });

  it('maps columns, and finds the answer in a solution or a list', async () => {
    const columns = { question: 'problem', answer: 'solution', system: 'prompt', response: 'trace' };
    const row = { problem: 'p', solution: 'so \\boxed{\\frac12}.', prompt: 's', trace: 't' };
    expect(
      await readExamples([
        file('c.jsonl', lines([row, { ...row, prompt: null }]), columns),
        file('d.jsonl', lines([{ question: 'p', final: ['$1$', 2] }]), { answer: 'final' }),
      ]),
    ).toEqual([
      { question: 'p', answer: '\\frac12', system: 's', response: 't' },
      { question: 'p', answer: '\\frac12', response: 't' },
      { question: 'p', answer: '$1$, 2' },
    ]);
  });

  it('takes a part, in the order of a seed', async () => {
    const all = file('e.json', JSON.stringify(ROWS));
    expect(await readExamples([all], { limit: 3 })).toEqual(ROWS.slice(0, 3));
    const shuffled = await readExamples([all], { shuffle: 7n });
    expect(shuffled).not.toEqual(ROWS);
    expect(new Set(shuffled.map(({ question }) => question)).size).toBe(ROWS.length);
    expect(await readExamples([all], { shuffle: 7n, limit: 5 })).toEqual(shuffled.slice(0, 5));
    expect(await readExamples([all], { shuffle: 8n })).not.toEqual(shuffled);
  });

  const good = { question: 'q', answer: '1' };
  const cases: [string, string, string, DataFile['columns'], RegExp][] = [
    ['an empty file', 'x.jsonl', '\n', {}, /holds no examples/],
    ['an empty array', 'x.json', '[]', {}, /holds no examples/],
    ['an empty JSON file', 'x.json', '', {}, /holds no examples/],
    ['another format', 'x.csv', 'question,answer', {}, /expected a file that ends in/],
    ['broken JSON', 'x.json', '[{', {}, /not JSON/],
    ['a broken line', 'x.jsonl', `${JSON.stringify(good)}\n{"question"`, {}, /line 2: not JSON/],
    ['a number for a row', 'x.jsonl', `${JSON.stringify(good)}\n7`, {}, /line 2: expected an object/],
    ['no array', 'x.json', '{"a":1}', {}, /it has 0 arrays/],
    ['two arrays', 'x.json', '{"a":[],"b":[]}', {}, /it has 2 arrays/],
    ['a scalar', 'x.json', '7', {}, /it has 0 arrays/],
    [
      'a missing question',
      'x.jsonl',
      lines([good, { answer: '1', quesion: 'q' }]),
      {},
      /line 2: no column "question" for the question; there are answer, quesion \(did you mean 'quesion'\?\)/,
    ],
    [
      'a missing mapped column',
      'x.jsonl',
      lines([good]),
      { answer: 'target' },
      /line 1: no column "target" for the answer/,
    ],
    [
      'a mapped column that no row has',
      'x.jsonl',
      lines([good]),
      { system: 'prompt' },
      /no row has the column "prompt" of system/,
    ],
    [
      'an empty question',
      'x.jsonl',
      lines([{ ...good, question: ' ' }]),
      {},
      /line 1: expected "question" to be a text that is not empty, found an empty text/,
    ],
    [
      'a question that is a number',
      'x.jsonl',
      lines([{ ...good, question: 3 }]),
      {},
      /expected "question" to be a text, found 3/,
    ],
    [
      'an answer that is an object',
      'x.json',
      JSON.stringify([good, { ...good, answer: {} }]),
      {},
      /row 2: expected "answer" to be .*, found an object/,
    ],
    ['an empty list of answers', 'x.jsonl', lines([{ ...good, answer: [] }]), {}, /found an empty list/],
    ['an answer of null', 'x.jsonl', lines([{ ...good, answer: null }]), {}, /found null/],
    [
      'a solution whose box does not close',
      'x.jsonl',
      lines([{ ...good, answer: '\\boxed{1' }]),
      {},
      /found "/,
    ],
    [
      'a response that is a list',
      'x.jsonl',
      lines([{ ...good, response: ['r'] }]),
      {},
      /expected "response" to be a text, found a list/,
    ],
    ['what only ends in .parquet', 'x.parquet', 'no', {}, /not a Parquet file that can be read/],
  ];
  it.each(cases)('refuses %s', async (_, name, content, columns, message) => {
    const error = await readExamples([file(name, content, columns)]).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toContain(join(folder, name));
    expect((error as Error).message).toMatch(message);
  });

  it('names a file that is not there', async () => {
    for (const name of ['none.jsonl', 'none.parquet'])
      await expect(readExamples([{ path: join(folder, name) }])).rejects.toThrow(
        /none\.(jsonl|parquet): .*ENOENT/,
      );
  });
});
