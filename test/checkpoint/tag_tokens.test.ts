import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTensors, toFloats, weightFiles } from '../../src/checkpoint/safetensors.js';
import { addTagTokens } from '../../src/checkpoint/tag_tokens.js';
import { packageRoot } from '../../src/config/paths.js';
import { TAGS } from '../../src/parallel/tags.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-tags-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** A fixture whose tokenizer has forgotten some tags. */
function without(fixture: string, forgotten: readonly string[], edit: (tokenizer: Json) => void = () => {}) {
  const folder = mkdtempSync(join(directory, 'model-'));
  cpSync(join(packageRoot, 'test/fixtures', fixture), folder, { recursive: true });
  const path = join(folder, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(path, 'utf8'));
  tokenizer.added_tokens = tokenizer.added_tokens.filter(
    ({ content }: { content: string }) => !forgotten.includes(content),
  );
  edit(tokenizer);
  writeFileSync(path, JSON.stringify(tokenizer));
  return folder;
}

// biome-ignore lint/suspicious/noExplicitAny: the tokenizer's own format
type Json = any;

async function added(from: string): Promise<string> {
  const to = mkdtempSync(join(directory, 'with-'));
  mkdirSync(to, { recursive: true });
  await addTagTokens(from, to);
  return to;
}

async function tensor(folder: string, name: string) {
  for (const weights of await weightFiles(folder)) {
    const file = await open(join(folder, weights));
    try {
      const found = (await readTensors(file, weights)).find((one) => one.name === name);
      if (found === undefined) continue;
      const [rows = 0, columns = 0] = found.shape;
      const values = toFloats(found.dtype, await found.bytes());
      return { rows, row: (i: number) => values.slice(i * columns, (i + 1) * columns) };
    } finally {
      await file.close();
    }
  }
  throw new Error(`no ${name}`);
}

describe.each([
  ['random-tied', ['model.embed_tokens.weight']],
  ['random-untied-sharded', ['model.embed_tokens.weight', 'lm_head.weight']],
])('%s', (fixture, names) => {
  it('gets tokens whose rows are the mean of their word pieces', async () => {
    const from = without(fixture, TAGS);
    const before = await Tokenizer.load(from);
    expect(before.vocabulary.tags).toBeUndefined();
    const to = await added(from);
    const after = await Tokenizer.load(to);
    const { tags } = after.vocabulary;
    expect(tags).toBeDefined();
    for (const name of names) {
      const [old, now] = [await tensor(from, name), await tensor(to, name)];
      expect(now.rows).toBe(old.rows); // the vocabulary is padded
      expect(now.row(5)).toEqual(old.row(5));
      for (const tag of TAGS) {
        const [id = -1] = await after.encodeResponse(tag);
        const pieces = await before.encodePlain(tag);
        expect(pieces.length).toBeGreaterThan(1);
        const row = now.row(id);
        for (const i of row.keys()) {
          const mean = pieces.reduce((sum, piece) => sum + (old.row(piece)[i] ?? 0), 0) / pieces.length;
          expect(Math.abs((row[i] ?? 0) - mean)).toBeLessThanOrEqual(2 ** -8 * Math.abs(mean) + 1e-9);
        }
      }
    }
    const other = 'model.layers.0.mlp.down_proj.weight';
    expect((await tensor(to, other)).row(0)).toEqual((await tensor(from, other)).row(0));
  });

  it('keeps the tags that it has', async () => {
    const from = without(fixture, ['</takeaway>']);
    const to = await added(from);
    const { tags } = (await Tokenizer.load(to)).vocabulary;
    const [guideline] = await (await Tokenizer.load(from)).encodeResponse('<guideline>');
    expect(tags?.guideline).toBe(guideline);
    const [old, now] = [await tensor(from, names[0] ?? ''), await tensor(to, names[0] ?? '')];
    expect(now.row(guideline ?? 0)).toEqual(old.row(guideline ?? 0));
  });
});

it('grows a vocabulary that has no room', async () => {
  const from = without('random-tied', TAGS, (tokenizer) => {
    // up to the last row
    const config = join(packageRoot, 'test/fixtures/random-tied/config.json');
    const rows = JSON.parse(readFileSync(config, 'utf8')).vocab_size;
    const used = Math.max(...tokenizer.added_tokens.map(({ id }: { id: number }) => id));
    for (let id = used + 1; id < rows; id++)
      tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id, content: `<filler-${id}>` });
  });
  const to = await added(from);
  const { vocab_size: before } = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'));
  const { vocab_size: after } = JSON.parse(readFileSync(join(to, 'config.json'), 'utf8'));
  expect(after).toBe(before + TAGS.length);
  expect((await tensor(to, 'model.embed_tokens.weight')).rows).toBe(after);
});

it('is refused where a tag is an ordinary token', async () => {
  const from = without('random-tied', TAGS, (tokenizer) => {
    tokenizer.model.vocab['<plan>'] = 400;
  });
  await expect(added(from)).rejects.toThrow(/tokenizer\.json: has <plan> among its ordinary tokens/);
});
