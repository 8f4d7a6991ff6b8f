import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Line, readLines } from '../../../src/train/data/lines.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lines-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function read(content: string, chunk?: number): Promise<Line[]> {
  const path = join(folder, 'file');
  writeFileSync(path, content);
  const lines: Line[] = [];
  for await (const line of readLines(path, chunk)) lines.push(line);
  return lines;
}

it.each([1, 2, 3, 5, undefined])('reads whole characters, %s bytes at a time', async (chunk) => {
  expect(await read('é\n\nlänger: 漢字\r\nlast', chunk)).toEqual([
    { text: 'é', end: 3, ended: true },
    { text: '', end: 4, ended: true },
    { text: 'länger: 漢字\r', end: 21, ended: true },
    { text: 'last', end: 25, ended: false },
  ]);
  expect(await read('a\n', chunk)).toEqual([{ text: 'a', end: 2, ended: true }]);
  expect(await read('', chunk)).toEqual([]);
});

it('reads lines longer than what it reads at once', async () => {
  const texts = [100_000, 3, 65_535, 65_536, 1].map((length, i) => String(i).repeat(length));
  expect((await read(`${texts.join('\n')}\n`)).map(({ text }) => text)).toEqual(texts);
});

it('rejects where there is no file', async () => {
  await expect(readLines(join(folder, 'none')).next()).rejects.toThrow('ENOENT');
});
