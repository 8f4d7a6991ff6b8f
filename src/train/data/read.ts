/** Examples from files of questions. */
import type { Example } from '../examples.js';
import { permutation } from '../random.js';
import { COLUMNS, type Columns, exampleOf, sourceColumns } from './columns.js';
import { DataError } from './error.js';
import { readRows } from './rows.js';

export interface DataFile {
  /** A .jsonl, .json or .parquet file. */
  path: string;
  /** What the columns are called in the file, where that is not their name here. */
  columns?: Columns | undefined;
}

export interface Selection {
  /** The seed of the order; undefined: as in the files. */
  shuffle?: bigint | undefined;
  /** Most examples to take, once they are in order. */
  limit?: number | undefined;
}

/** All examples of all files. Throws a DataError that names the file, the row and what was expected. */
export async function readExamples(
  files: readonly DataFile[],
  { shuffle, limit }: Selection = {},
): Promise<Example[]> {
  const examples: Example[] = [];
  for (const { path, columns = {} } of files) {
    const rows = await readRows(path, sourceColumns(columns));
    if (rows.length === 0) throw new DataError(path, 'holds no examples');
    for (const row of rows) examples.push(exampleOf(row, columns, path));
    for (const name of COLUMNS) {
      const column = columns[name];
      if (column !== undefined && rows.every(({ values }) => !Object.hasOwn(values, column)))
        throw new DataError(path, `no row has the column ${JSON.stringify(column)} of ${name}`);
    }
  }
  const order =
    shuffle === undefined
      ? examples
      : [...permutation(examples.length, shuffle)].map((i) => examples[i] as Example);
  return order.slice(0, limit);
}
