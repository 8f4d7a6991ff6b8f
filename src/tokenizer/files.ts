/** The tokenizer's files of a model directory, as Hugging Face lays it out. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TokenizerFileError } from './errors.js';

export type Json = { [key: string]: unknown };

export interface AddedToken {
  id: number;
  content: string;
  /** Control tokens; the others are text that happens to be one token, such as `<think>`. */
  special: boolean;
}

export interface ModelFiles {
  tokenizer: Json;
  /** Token string to id, without the added tokens. */
  vocab: Map<string, number>;
  addedTokens: AddedToken[];
  tokenizerConfig: Json;
  generationConfig: Json;
  config: Json;
  /** The default chat template's source; undefined where the model has none. */
  chatTemplate: string | undefined;
}

/** Throws a TokenizerFileError that names the file. Only tokenizer.json has to be there. */
export async function readModelFiles(directory: string): Promise<ModelFiles> {
  const path = join(directory, 'tokenizer.json');
  const [tokenizer, tokenizerConfig = {}, generationConfig = {}, config = {}] = await Promise.all(
    ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'config.json'].map((name) =>
      readJson(join(directory, name)),
    ),
  );
  if (tokenizer === undefined) throw new TokenizerFileError(path, 'no such file');
  return {
    tokenizer,
    vocab: vocabOf(tokenizer, path),
    addedTokens: addedTokensOf(tokenizer, path),
    tokenizerConfig,
    generationConfig,
    config,
    chatTemplate: await readTemplate(directory, tokenizerConfig),
  };
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new TokenizerFileError(path, (error as Error).message, error);
  }
}

async function readJson(path: string): Promise<Json | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new TokenizerFileError(path, `not JSON: ${(error as Error).message}`, error);
  }
  if (!isObject(value)) throw new TokenizerFileError(path, 'expected a JSON object');
  return value;
}

function vocabOf(tokenizer: Json, path: string): Map<string, number> {
  const { model, decoder } = tokenizer;
  if (!isObject(model) || model.type !== 'BPE' || !isObject(model.vocab))
    throw new TokenizerFileError(path, 'expected a model of type BPE with a vocabulary');
  if (!isObject(decoder) || decoder.type !== 'ByteLevel')
    throw new TokenizerFileError(
      path,
      `expected a decoder of type ByteLevel, found ${isObject(decoder) ? String(decoder.type) : 'none'}`,
    );
  const entries = Object.entries(model.vocab);
  for (const [token, id] of entries)
    if (!isId(id)) throw new TokenizerFileError(path, `the id of ${JSON.stringify(token)} is ${String(id)}`);
  return new Map(entries as [string, number][]);
}

function addedTokensOf(tokenizer: Json, path: string): AddedToken[] {
  const tokens = tokenizer.added_tokens ?? [];
  if (!Array.isArray(tokens)) throw new TokenizerFileError(path, 'expected added_tokens to be a list');
  return tokens.map((token: unknown, i) => {
    if (!isObject(token) || !isId(token.id) || typeof token.content !== 'string' || token.content === '')
      throw new TokenizerFileError(path, `added_tokens[${i}] has no id or no content`);
    for (const flag of ['lstrip', 'rstrip', 'single_word'])
      if (token[flag] === true)
        throw new TokenizerFileError(
          path,
          `added_tokens[${i}] (${token.content}) uses ${flag}, which is not supported`,
        );
    return { id: token.id, content: token.content, special: token.special === true };
  });
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 24;
}

async function readTemplate(directory: string, tokenizerConfig: Json): Promise<string | undefined> {
  const text = await readText(join(directory, 'chat_template.jinja'));
  if (text !== undefined) return text;
  const template = tokenizerConfig.chat_template;
  if (template === undefined || template === null || typeof template === 'string')
    return template ?? undefined;
  const named = Array.isArray(template) && template.find((item) => isObject(item) && item.name === 'default');
  if (isObject(named) && typeof named.template === 'string') return named.template;
  throw new TokenizerFileError(
    join(directory, 'tokenizer_config.json'),
    'expected chat_template to be a string, or a list with a template named "default"',
  );
}
