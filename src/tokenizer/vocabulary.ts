/** What the engine has to know of a tokenizer. */
import { join } from 'node:path';
import type { TagTokens, Vocabulary } from '../engine/types.js';
import type { TokenBytes } from './bytes.js';
import { TokenizerFileError } from './errors.js';
import { isObject, type Json, type ModelFiles } from './files.js';

/** `encodePlain` knows no added token. Throws a TokenizerFileError. */
export async function buildVocabulary(
  files: ModelFiles,
  { bytes, offsets }: TokenBytes,
  encodePlain: (text: string) => Promise<number[]>,
  directory: string,
): Promise<Vocabulary> {
  const size = offsets.length - 1;
  const limit = files.config.vocab_size;
  if (typeof limit === 'number' && size > limit)
    throw new TokenizerFileError(
      join(directory, 'tokenizer.json'),
      `has the token id ${size - 1}, beyond the vocab_size ${limit} of config.json`,
    );
  const added = new Map(files.addedTokens.map(({ content, id }) => [content, id]));
  const turnStart = added.get('<|im_start|>');
  const turnEnd = added.get('<|im_end|>');
  const chatml = turnStart !== undefined && turnEnd !== undefined;
  const digits = await Promise.all(
    [...'0123456789.'].map(async (character) => [character, await encodePlain(character)] as const),
  );
  return {
    bytes,
    offsets,
    endTokens: endTokens(files, added, directory),
    tags: tagTokens(added),
    turnHead: chatml ? [turnStart, ...(await encodePlain('assistant\n'))] : [],
    turnEnd: chatml ? turnEnd : -1,
    newline: await encodePlain('\n'),
    colon: await encodePlain(':'),
    digits: Object.fromEntries(digits),
  };
}

/** The first that says so: generation_config.json, config.json, the tokenizer's eos_token. */
function endTokens(files: ModelFiles, added: Map<string, number>, directory: string): number[] {
  for (const [name, json] of [
    ['generation_config.json', files.generationConfig],
    ['config.json', files.config],
  ] as [string, Json][]) {
    const value = json.eos_token_id;
    if (value === undefined || value === null) continue;
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (!ids.every((id) => Number.isInteger(id) && (id as number) >= 0))
      throw new TokenizerFileError(
        join(directory, name),
        `expected eos_token_id to be a token id or a list of them, found ${JSON.stringify(value)}`,
      );
    return ids as number[];
  }
  const token = files.tokenizerConfig.eos_token;
  const id = added.get(String(isObject(token) ? token.content : token));
  return id === undefined ? [] : [id];
}

/** undefined unless each of the eight is one added token. */
function tagTokens(added: Map<string, number>): TagTokens | undefined {
  const tags = {
    guideline: added.get('<guideline>'),
    guidelineEnd: added.get('</guideline>'),
    plan: added.get('<plan>'),
    planEnd: added.get('</plan>'),
    step: added.get('<step>'),
    stepEnd: added.get('</step>'),
    takeaway: added.get('<takeaway>'),
    takeawayEnd: added.get('</takeaway>'),
  };
  return Object.values(tags).includes(undefined) ? undefined : (tags as TagTokens);
}
