/** Gives a model whose vocabulary lacks tags of the parallel format a token for each. */
import { copyFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { TAGS } from '../parallel/tags.js';
import { TokenizerFileError } from '../tokenizer/errors.js';
import { readModelFiles } from '../tokenizer/files.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { linkOrCopy, names } from './durable.js';
import { copyModelFiles, type Json, readJson, writeJson } from './model_files.js';
import {
  fromFloats,
  INDEX,
  readTensors,
  type Tensor,
  toFloats,
  weightFiles,
  writeTensors,
} from './safetensors.js';

interface NewToken {
  content: string;
  id: number;
  /** What the vocabulary spelled it with so far. */
  pieces: number[];
}

/**
 * Writes the model of folder `from` into the folder `to`, with a token for each tag that it lacks: one more row of the
 * embedding, and of the head where that is its own, the mean of the rows of the tag's word pieces. A vocabulary that is
 * padded beyond its tokenizer keeps its size where they fit. Throws a TokenizerFileError where the tokenizer can't take them.
 */
export async function addTagTokens(from: string, to: string): Promise<void> {
  const tokens = await newTokens(from);
  const needed = Math.max(...tokens.map(({ id }) => id)) + 1;
  let vocabSize = 0;
  await copyModelFiles(from, to, (config) => {
    vocabSize = Math.max(Number(config.vocab_size), needed);
    return { ...config, vocab_size: vocabSize };
  });
  await addToTokenizer(to, tokens);
  await checkTokenizer(from, to, tokens);
  for (const name of await weightFiles(from))
    await rewrite(join(from, name), join(to, name), tokens, vocabSize);
  if ((await names(from)).includes(INDEX)) await copyFile(join(from, INDEX), join(to, INDEX));
}

async function newTokens(folder: string): Promise<NewToken[]> {
  const files = await readModelFiles(folder);
  const refuse = (why: string) => new TokenizerFileError(join(folder, 'tokenizer.json'), why);
  const added = new Set(files.addedTokens.map(({ content }) => content));
  const missing = TAGS.filter((tag) => !added.has(tag));
  const ordinary = missing.find((tag) => files.vocab.has(tag));
  if (ordinary !== undefined)
    throw refuse(`has ${ordinary} among its ordinary tokens, where text that a user typed would become one`);
  const tokenizer = await Tokenizer.load(folder);
  // as the tokenizers library numbers them
  const first = Math.max(...files.vocab.values(), ...files.addedTokens.map(({ id }) => id)) + 1;
  return Promise.all(
    missing.map(async (content, i) => {
      const pieces = await tokenizer.encodePlain(content);
      if (pieces.length === 0) throw refuse(`has no word pieces for ${content}`);
      return { content, id: first + i, pieces };
    }),
  );
}

async function addToTokenizer(folder: string, tokens: readonly NewToken[]): Promise<void> {
  const there = await names(folder);
  const change = async (name: string, edit: (json: Json) => Json) => {
    if (there.includes(name)) await writeJson(join(folder, name), edit(await readJson(join(folder, name))));
  };
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  await change('tokenizer.json', (json) => ({
    ...json,
    added_tokens: [
      ...((json.added_tokens as Json[] | undefined) ?? []),
      ...tokens.map(({ id, content }) => ({ id, content, ...flags })),
    ],
  }));
  await change('tokenizer_config.json', (json) => {
    const decoder = json.added_tokens_decoder as Json | undefined;
    const lists = ['additional_special_tokens', 'extra_special_tokens'].filter((key) =>
      Array.isArray(json[key]),
    );
    return {
      ...json,
      ...(decoder && {
        added_tokens_decoder: {
          ...decoder,
          ...Object.fromEntries(tokens.map(({ id, content }) => [String(id), { content, ...flags }])),
        },
      }),
      ...Object.fromEntries(
        lists.map((key) => [key, [...(json[key] as unknown[]), ...tokens.map(({ content }) => content)]]),
      ),
    };
  });
  await change('added_tokens.json', (json) => ({
    ...json,
    ...Object.fromEntries(tokens.map(({ id, content }) => [content, id])),
  }));
}

/** The library numbers added tokens itself: what it makes of the new file decides. */
async function checkTokenizer(from: string, to: string, tokens: readonly NewToken[]): Promise<void> {
  try {
    const { vocabulary } = await Tokenizer.load(to);
    if (vocabulary.tags !== undefined) return;
  } catch (error) {
    throw new TokenizerFileError(
      join(from, 'tokenizer.json'),
      `can't take tokens for ${tokens.map(({ content }) => content).join(' ')}: ${(error as Error).message}`,
      error,
    );
  }
  throw new TokenizerFileError(join(from, 'tokenizer.json'), "doesn't know the tags even as added tokens");
}

const VOCABULARY_TENSORS = new Set(['model.embed_tokens.weight', 'lm_head.weight']);

async function rewrite(from: string, to: string, tokens: readonly NewToken[], rows: number): Promise<void> {
  const file = await open(from);
  try {
    const tensors = await readTensors(file, from);
    if (tensors.some(({ name }) => VOCABULARY_TENSORS.has(name)))
      await writeTensors(
        to,
        tensors.map((tensor) =>
          VOCABULARY_TENSORS.has(tensor.name) ? extended(tensor, tokens, rows) : tensor,
        ),
      );
    else await linkOrCopy(from, to);
  } finally {
    await file.close();
  }
}

function extended(tensor: Tensor, tokens: readonly NewToken[], rows: number): Tensor {
  const { dtype, shape } = tensor;
  const [, columns = 0] = shape;
  return {
    ...tensor,
    shape: [rows, columns],
    bytes: async () => {
      const before = await tensor.bytes();
      const stride = before.byteLength / (shape[0] ?? 1);
      const after = new Uint8Array(rows * stride);
      after.set(before);
      for (const { id, pieces } of tokens) {
        const sum = new Float32Array(columns);
        for (const piece of pieces) {
          const row = toFloats(dtype, before.subarray(piece * stride, (piece + 1) * stride));
          for (const [i, value] of row.entries()) sum[i] = (sum[i] as number) + value;
        }
        after.set(
          fromFloats(
            dtype,
            sum.map((value) => value / pieces.length),
          ),
          id * stride,
        );
      }
      return after;
    },
  };
}
