/** As much of GGUF as the tests write. */
import { readFileSync } from 'node:fs';

interface ReadTensor {
  name: string;
  shape: number[];
  /** ggml's number of it. */
  type: number;
  /** In the file. */
  offset: number;
  data: Buffer;
}

export function readGguf(path: string): { metadata: Record<string, unknown>; tensors: ReadTensor[] } {
  const bytes = readFileSync(path);
  let at = 4;
  const u32 = () => {
    at += 4;
    return bytes.readUInt32LE(at - 4);
  };
  const u64 = () => {
    at += 8;
    return Number(bytes.readBigUInt64LE(at - 8));
  };
  const text = () => {
    const length = u64();
    at += length;
    return bytes.toString('utf8', at - length, at);
  };
  const value = (type: number): unknown => {
    if (type === 4) return u32();
    if (type === 8) return text();
    if (type === 6) {
      at += 4;
      return bytes.readFloatLE(at - 4);
    }
    if (type !== 9) throw new Error(`no value of the type ${type} is written`);
    const inner = u32();
    return Array.from({ length: u64() }, () => value(inner));
  };

  if (bytes.toString('latin1', 0, 4) !== 'GGUF' || u32() !== 3) throw new Error('expected GGUF version 3');
  const tensorCount = u64();
  const metadata: Record<string, unknown> = {};
  for (let left = u64(); left > 0; left--) {
    const key = text();
    metadata[key] = value(u32());
  }
  const infos = Array.from({ length: tensorCount }, () => ({
    name: text(),
    shape: Array.from({ length: u32() }, u64).reverse(),
    type: u32(),
    offset: u64(),
  }));
  const start = Math.ceil(at / 32) * 32;
  const tensors = infos.map(({ offset, ...info }) => {
    const size = info.shape.reduce((product, each) => product * each, info.type === 0 ? 4 : 2);
    return {
      ...info,
      offset: start + offset,
      data: bytes.subarray(start + offset, start + offset + size),
    };
  });
  return { metadata, tensors };
}
