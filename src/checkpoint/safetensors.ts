/**
 * The safetensors format (https://github.com/huggingface/safetensors): 8 bytes of header length, a JSON header of names, types,
 * shapes and offsets, then the tensors. Enough to change a model's files; the engine has its own reader.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { names } from './durable.js';
import { readJson } from './model_files.js';

export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

export interface Tensor {
  name: string;
  /** As the format has it: BF16, F32, ... */
  dtype: string;
  shape: number[];
  bytes(): Promise<Uint8Array>;
}

const WIDTHS: Record<string, number> = { BF16: 2, F16: 2, F32: 4 };

/** The files with a model's weights, by name, in order. Throws where the folder has none. */
export async function weightFiles(folder: string): Promise<string[]> {
  const there = await names(folder);
  if (there.includes(INDEX)) {
    const map = (await readJson(join(folder, INDEX))).weight_map as Record<string, string> | undefined;
    return [...new Set(Object.values(map ?? {}))].sort();
  }
  if (there.includes(SINGLE)) return [SINGLE];
  throw new Error(`${folder}: has neither ${SINGLE} nor ${INDEX}`);
}

/** The tensors of a file in the order of their data; to be read while it is open. */
export async function readTensors(file: FileHandle, path: string): Promise<Tensor[]> {
  const length = Number((await read(file, 0, 8, path)).readBigUInt64LE());
  const { size } = await file.stat();
  if (length > size - 8) throw new Error(`${path}: ends within its header`);
  const header = JSON.parse((await read(file, 8, length, path)).toString('utf8')) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0])
    .map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        if (end < begin || 8 + length + end > size)
          throw new Error(`${path}: ends within the tensor ${name}`);
        return { name, dtype, shape, bytes: () => read(file, 8 + length + begin, end - begin, path) };
      },
    );
}

/** Holds one tensor in memory at a time. */
export async function writeTensors(path: string, tensors: readonly Tensor[]): Promise<void> {
  let offset = 0;
  const header = JSON.stringify({
    __metadata__: { format: 'pt' },
    ...Object.fromEntries(
      tensors.map(({ name, dtype, shape }) => {
        const begin = offset;
        offset += byteLength(dtype, shape);
        return [name, { dtype, shape, data_offsets: [begin, offset] }];
      }),
    ),
  });
  // the tensors begin at a multiple of 8, as readers that map the file like it
  const padded = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const file = await open(path, 'w');
  try {
    await file.writeFile(Buffer.concat([length, padded]));
    for (const { name, dtype, shape, bytes } of tensors) {
      const data = await bytes();
      if (data.byteLength !== byteLength(dtype, shape))
        throw new RangeError(`${name}: ${data.byteLength} bytes for the shape ${shape.join(' x ')}`);
      await file.writeFile(data); // goes on where the last write ended
    }
  } finally {
    await file.close();
  }
}

/** Values of BF16, F16 or F32. Throws for any other type. */
export function toFloats(dtype: string, bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(bytes.byteLength / width(dtype));
  for (let i = 0; i < values.length; i++) {
    if (dtype === 'F32') values[i] = view.getFloat32(4 * i, true);
    else if (dtype === 'BF16') values[i] = bf16(view.getUint16(2 * i, true));
    else values[i] = f16(view.getUint16(2 * i, true));
  }
  return values;
}

/** The nearest values of BF16, F16 or F32, even ones among equals. Throws for any other type. */
export function fromFloats(dtype: string, values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * width(dtype));
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) {
    if (dtype === 'F32') view.setFloat32(4 * i, value, true);
    else if (dtype === 'BF16') view.setUint16(2 * i, toBf16(value), true);
    else view.setUint16(2 * i, toF16(value), true);
  }
  return bytes;
}

function width(dtype: string): number {
  const bytes = WIDTHS[dtype];
  if (bytes === undefined)
    throw new Error(`tensors of the type ${dtype} are not supported; expected BF16, F16 or F32`);
  return bytes;
}

function byteLength(dtype: string, shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, width(dtype));
}

async function read(file: FileHandle, position: number, length: number, path: string): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(buffer, done, Math.min(length - done, 2 ** 30), position + done);
    if (bytesRead === 0) throw new Error(`${path}: ends early`);
    done += bytesRead;
  }
  return buffer;
}

const scratch = new DataView(new ArrayBuffer(4));

function bf16(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

function toBf16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function toF16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (Number.isNaN(value)) return sign | 0x7e00;
  if (Math.abs(value) < 2 ** -14) return sign | roundHalfEven(Math.abs(value) * 2 ** 24); // multiples of 2^-24
  const rounded = (magnitude + 0xfff + ((magnitude >>> 13) & 1) - (112 << 23)) >>> 13; // 112: between the exponents' biases
  return sign | Math.min(rounded, 0x7c00);
}

function roundHalfEven(value: number): number {
  const whole = Math.floor(value);
  const rest = value - whole;
  return rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
}

function f16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
