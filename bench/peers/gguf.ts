/** Writes GGUF version 3, the file format of llama.cpp's models. */
import { closeSync, openSync, writeFileSync } from 'node:fs';

export type Value = { u32: number } | { f32: number } | { text: string } | { texts: readonly string[] };

export interface Tensor {
  name: string;
  /** Row-major, as in safetensors; GGUF lists the same sizes backwards. */
  shape: readonly number[];
  type: 'f32' | 'bf16';
  /** Its numbers, in pieces: a large tensor is never held whole. */
  data(): Iterable<Uint8Array>;
}

const alignment = 32;
const types = { f32: { id: 0, bytes: 4 }, bf16: { id: 30, bytes: 2 } };

export function writeGguf(
  path: string,
  metadata: Readonly<Record<string, Value>>,
  tensors: readonly Tensor[],
): void {
  const file = openSync(path, 'w');
  try {
    writeFileSync(file, header(metadata, tensors));
    for (const tensor of tensors) {
      let written = 0;
      for (const piece of tensor.data()) {
        writeFileSync(file, piece);
        written += piece.length;
      }
      const expected = bytesOf(tensor);
      if (written !== expected) {
        throw new Error(`${tensor.name}: expected ${expected} bytes, was given ${written}`);
      }
      writeFileSync(file, padding(written));
    }
  } finally {
    closeSync(file);
  }
}

/** Everything before the first tensor's numbers. */
function header(metadata: Readonly<Record<string, Value>>, tensors: readonly Tensor[]): Buffer {
  const entries = Object.entries(metadata);
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length)];
  for (const [key, value] of entries) parts.push(text(key), typed(value));
  let offset = 0;
  for (const tensor of tensors) {
    const sizes = tensor.shape.map(u64).reverse();
    parts.push(text(tensor.name), u32(sizes.length), ...sizes, u32(types[tensor.type].id), u64(offset));
    offset += bytesOf(tensor);
    offset += padding(offset).length;
  }
  const whole = Buffer.concat(parts);
  return Buffer.concat([whole, padding(whole.length)]);
}

function typed(value: Value): Buffer {
  if ('u32' in value) return Buffer.concat([u32(4), u32(value.u32)]);
  if ('f32' in value) return Buffer.concat([u32(6), f32(value.f32)]);
  if ('text' in value) return Buffer.concat([u32(8), text(value.text)]);
  return Buffer.concat([u32(9), u32(8), u64(value.texts.length), ...value.texts.map(text)]);
}

function bytesOf({ shape, type }: Tensor): number {
  return shape.reduce((product, size) => product * size, types[type].bytes);
}

function padding(length: number): Buffer {
  return Buffer.alloc((alignment - (length % alignment)) % alignment);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

function u64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

function f32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeFloatLE(value);
  return out;
}
