/** Reads one safetensors file: where each tensor lies. */
import { closeSync, openSync, readSync } from 'node:fs';

export interface StoredTensor {
  name: string;
  dtype: string;
  shape: number[];
  /** In the file. */
  offset: number;
  bytes: number;
}

export function safetensors(path: string): StoredTensor[] {
  const file = openSync(path, 'r');
  try {
    const length = Number(read(file, 0, 8).readBigUInt64LE());
    const header = JSON.parse(read(file, 8, length).toString()) as Record<
      string,
      { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    return Object.entries(header).flatMap(([name, { dtype, shape, data_offsets }]) => {
      if (name === '__metadata__') return [];
      const [begin, end] = data_offsets;
      return [{ name, dtype, shape, offset: 8 + length + begin, bytes: end - begin }];
    });
  } finally {
    closeSync(file);
  }
}

/** Throws where the file ends before. */
export function read(file: number, offset: number, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  if (readSync(file, out, 0, bytes, offset) !== bytes) throw new Error('a safetensors file is cut short');
  return out;
}
