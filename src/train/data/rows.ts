/** The rows of a file, whatever its format. */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { DataError } from './error.js';
import { readLines } from './lines.js';

export interface Row {
  /** As a person counts: `line 1`, `row 1`. */
  place: string;
  values: Record<string, unknown>;
  /** The columns of the file, where values are not all that it has. */
  columns?: readonly string[];
}

/** `wanted`: the columns that matter, of those that a file has. */
export async function readRows(path: string, wanted: readonly string[]): Promise<Row[]> {
  switch (extname(path).toLowerCase()) {
    case '.jsonl':
    case '.ndjson':
      return jsonLines(path);
    case '.json':
      return jsonArray(await text(path), path);
    case '.parquet':
      return parquet(path, wanted);
    default:
      throw new DataError(path, 'expected a file that ends in .jsonl, .json or .parquet');
  }
}

const BYTE_ORDER_MARK = /^\ufeff/;

async function text(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).replace(BYTE_ORDER_MARK, '');
  } catch (error) {
    throw new DataError(path, (error as Error).message, error);
  }
}

async function jsonLines(path: string): Promise<Row[]> {
  const rows: Row[] = [];
  let number = 0;
  try {
    for await (const line of readLines(path)) {
      const place = `line ${++number}`;
      const text = number === 1 ? line.text.replace(BYTE_ORDER_MARK, '') : line.text;
      if (text.trim() !== '') rows.push(objectRow(json(text, path, `${place}: `), place, path));
    }
  } catch (error) {
    throw error instanceof DataError ? error : new DataError(path, (error as Error).message, error);
  }
  return rows;
}

function jsonArray(text: string, path: string): Row[] {
  if (text.trim() === '') return [];
  const value = json(text, path, '');
  const arrays = Array.isArray(value) ? [value] : Object.values(value ?? {}).filter(Array.isArray);
  const [array] = arrays;
  if (array === undefined || arrays.length > 1)
    throw new DataError(
      path,
      `expected an array of objects, or an object with one such array; it has ${arrays.length} arrays`,
    );
  return array.map((row: unknown, i) => objectRow(row, `row ${i + 1}`, path));
}

function json(text: string, path: string, place: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(path, `${place}not JSON: ${(error as Error).message}`, error);
  }
}

function objectRow(value: unknown, place: string, path: string): Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new DataError(path, `${place}: expected an object`);
  return { place, values: value as Record<string, unknown> };
}

async function parquet(path: string, wanted: readonly string[]): Promise<Row[]> {
  const { compressors } = await import('hyparquet-compressors');
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const names = parquetSchema(metadata).children.map(({ element }) => element.name);
    const columns = names.filter((name) => wanted.includes(name));
    // without any there are still rows, the first of which is complained of
    const rows = await parquetReadObjects({
      file,
      metadata,
      compressors,
      ...(columns.length > 0 ? { columns } : {}),
    });
    return rows.map((values, i) => ({ place: `row ${i + 1}`, values, columns: names }));
  } catch (error) {
    throw new DataError(path, `not a Parquet file that can be read: ${(error as Error).message}`, error);
  }
}
