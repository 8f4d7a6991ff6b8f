import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  fromFloats,
  readTensors,
  toFloats,
  weightFiles,
  writeTensors,
} from '../../src/checkpoint/safetensors.js';
import { packageRoot } from '../../src/config/paths.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-safetensors-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function contents(path: string) {
  const file = await open(path);
  try {
    return await Promise.all(
      (await readTensors(file, path)).map(async ({ bytes, ...tensor }) => ({
        ...tensor,
        data: await bytes(),
      })),
    );
  } finally {
    await file.close();
  }
}

it('reads what transformers wrote, and writes what reads back the same', async () => {
  const fixture = join(packageRoot, 'test/fixtures/random-tied');
  expect(await weightFiles(fixture)).toEqual(['model.safetensors']);
  expect(await weightFiles(join(packageRoot, 'test/fixtures/random-untied-sharded'))).toHaveLength(6);
  const tensors = await contents(join(fixture, 'model.safetensors'));
  const embedding = tensors.find(({ name }) => name === 'model.embed_tokens.weight');
  expect(embedding).toMatchObject({ dtype: 'BF16', shape: [expect.any(Number), expect.any(Number)] });
  const copy = join(directory, 'copy.safetensors');
  await writeTensors(
    copy,
    tensors.map(({ data, ...tensor }) => ({ ...tensor, bytes: async () => data })),
  );
  expect(await contents(copy)).toEqual(tensors);
});

it('converts to the nearest bf16, even ones among equals', () => {
  const step = 2 ** -7; // between bf16 numbers from 1 to 2
  const values = [
    0,
    -0,
    1,
    1 + step / 2,
    1 + (3 * step) / 2,
    1 + 0.51 * step,
    -1.5,
    3e38,
    Infinity,
    Number.NaN,
  ];
  const rounded = [
    0,
    -0,
    1,
    1,
    1 + 2 * step,
    1 + step,
    -1.5,
    expect.closeTo(3e38, -37),
    Infinity,
    Number.NaN,
  ];
  expect([...toFloats('BF16', fromFloats('BF16', Float32Array.from(values)))]).toEqual(rounded);
  const exact = Float32Array.from([0.1, -2.5e-30, 7]);
  expect(toFloats('F32', fromFloats('F32', exact))).toEqual(exact);
  expect([...toFloats('F16', Uint8Array.of(0, 0x3c, 1, 0, 0, 0xc1, 0, 0x7c))]).toEqual([
    1,
    2 ** -24,
    -2.5,
    Infinity,
  ]);
  expect(() => fromFloats('I64', new Float32Array(1))).toThrow('I64 are not supported');
  expect(() => toFloats('I64', new Uint8Array(8))).toThrow('I64 are not supported');
});

it('converts to the nearest f16, even ones among equals', () => {
  for (let bits = 0; bits < 2 ** 16; bits++) {
    const [value] = toFloats('F16', Uint8Array.of(bits & 0xff, bits >> 8)) as unknown as [number];
    const [low, high] = fromFloats('F16', Float32Array.of(value)) as unknown as [number, number];
    const back = low | (high << 8);
    expect(Number.isNaN(value) ? (back & 0x7fff) > 0x7c00 : back === bits, `${bits}`).toBe(true);
  }
  const halves = (...all: number[]) => [...toFloats('F16', fromFloats('F16', Float32Array.from(all)))];
  const step = 2 ** -10;
  expect(halves(1 + step / 2, 1 + 1.5 * step, 1 + 0.51 * step)).toEqual([1, 1 + 2 * step, 1 + step]);
  expect(halves(65519, 65520, -1e30, 2047.5)).toEqual([65504, Infinity, -Infinity, 2048]);
  expect(halves(2 ** -25, 1.5 * 2 ** -24, 1.01 * 2 ** -25, 2 ** -14 - 2 ** -26)).toEqual([
    0,
    2 ** -23,
    2 ** -24,
    2 ** -14,
  ]);
});

it('says where a file ends too early', async () => {
  const path = join(directory, 'bad.safetensors');
  const header = JSON.stringify({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  for (const [content, message] of [
    [Buffer.alloc(4), 'ends early'],
    [Buffer.concat([length, Buffer.from(header.slice(0, 9))]), 'ends within its header'],
    [Buffer.concat([length, Buffer.from(header), Buffer.alloc(4)]), 'ends within the tensor a'],
  ] as const) {
    writeFileSync(path, content);
    await expect(contents(path)).rejects.toThrow(message);
  }
  await expect(weightFiles(directory)).rejects.toThrow('has neither model.safetensors nor');
});
