/** The small files of a Hugging Face model folder: all but the weights. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { names } from './durable.js';

export type Json = Record<string, unknown>;

/** What belongs to the tokenizer, and to generation. */
const COPIED = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
];

/** Copies them all, `config.json` with a change. */
export async function copyModelFiles(
  from: string,
  to: string,
  change: (config: Json) => Json,
): Promise<void> {
  await copyTokenizer(from, to);
  await writeJson(join(to, 'config.json'), change(await readJson(join(from, 'config.json'))));
}

/** A config that says that the weights are bf16, by the key that it has for it. */
export function inBf16(config: Json): Json {
  const key = 'torch_dtype' in config && !('dtype' in config) ? 'torch_dtype' : 'dtype';
  return { ...config, [key]: 'bfloat16' };
}

export async function copyTokenizer(from: string, to: string): Promise<void> {
  const there = await names(from);
  for (const name of COPIED) if (there.includes(name)) await copyFile(join(from, name), join(to, name));
}

/** Throws where the file can't be read, or holds no JSON object. */
export async function readJson(path: string): Promise<Json> {
  const value: unknown = JSON.parse(await readFile(path, 'utf8'));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${path}: expected a JSON object`);
  return value as Json;
}

export function writeJson(path: string, value: unknown): Promise<void> {
  return writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
