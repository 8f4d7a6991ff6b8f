/** From a checked request to the engine's terms; shared by HTTP, WebSocket and the command line. */
import { randomBytes } from 'node:crypto';
import type { ParallelSettings } from '../config/settings.js';
import type { EngineRequest, ParallelOptions, SamplingParams } from '../engine/types.js';
import { ApiError } from './errors.js';
import { promptOf } from './messages.js';
import type { ServedModel } from './model.js';
import type { ChatRequest } from './schemas/chat.js';
import { type CompletionRequest, maxChoices } from './schemas/completions.js';

type Common = Omit<ChatRequest & CompletionRequest, 'messages' | 'prompt' | 'logprobs'>;

/** Throws an ApiError where the model can't do what is asked. */
export async function chatRequest(
  body: ChatRequest,
  model: ServedModel,
  defaults: ParallelSettings,
): Promise<EngineRequest> {
  model.checkName(body.model);
  if (body.top_logprobs !== undefined && body.logprobs !== true) {
    throw new ApiError('invalid_value', 'top_logprobs requires logprobs to be true', 'top_logprobs');
  }
  const both = [body.max_tokens, body.max_completion_tokens];
  if (both[0] !== undefined && both[1] !== undefined && both[0] !== both[1]) {
    throw new ApiError(
      'invalid_value',
      'max_tokens and max_completion_tokens differ; send one',
      'max_tokens',
    );
  }
  const prompt = await promptOf(body, model.tokenizer);
  return {
    ...common(body, model, defaults, prompt, both[0] ?? both[1]),
    logprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
  };
}

/** One engine request a prompt. */
export async function completionRequests(
  body: CompletionRequest,
  model: ServedModel,
  defaults: ParallelSettings,
): Promise<EngineRequest[]> {
  model.checkName(body.model);
  if (body.best_of !== undefined && body.best_of !== (body.n ?? 1)) {
    throw new ApiError(
      'unsupported_field',
      'best_of is not supported: leave it out, or give it the value of n',
      'best_of',
    );
  }
  if (body.max_tokens === 0 && body.echo !== true) {
    throw new ApiError(
      'invalid_value',
      'max_tokens: expected at least 1 where echo is not true, got 0',
      'max_tokens',
    );
  }
  const prompts = await promptsOf(body, model);
  return prompts.map((prompt) => ({
    ...common(body, model, defaults, prompt, body.max_tokens),
    logprobs: body.logprobs,
    promptLogprobs: body.echo ? body.logprobs : undefined,
  }));
}

async function promptsOf(body: CompletionRequest, model: ServedModel): Promise<number[][]> {
  const { prompt } = body;
  const one = typeof prompt === 'string' || typeof prompt[0] === 'number';
  const prompts = (one ? [prompt] : prompt) as (string | number[])[];
  const n = body.n ?? 1;
  const most = Math.floor(maxChoices / prompts.length);
  if (n > most) {
    const message = `n: expected at most ${most} with ${prompts.length} prompts, got ${n}`;
    throw new ApiError('invalid_value', message, 'n');
  }
  const encoded: number[][] = [];
  for (const [i, item] of prompts.entries()) {
    const path = one ? 'prompt' : `prompt[${i}]`;
    const tokens = typeof item === 'string' ? await encode(item, body.parallel, model) : item;
    if (tokens.length === 0) {
      throw new ApiError('invalid_value', `${path}: expected at least one token, got none`, path);
    }
    for (const [j, token] of tokens.entries()) checkToken(token, model, `${path}[${j}]`);
    encoded.push(tokens);
  }
  return encoded;
}

function encode(text: string, parallel: Common['parallel'], model: ServedModel): Promise<number[]> {
  return parallel ? model.tokenizer.encodeTurns(text) : model.tokenizer.encode(text);
}

function common(
  body: Common,
  model: ServedModel,
  defaults: ParallelSettings,
  prompt: number[],
  asked: number | undefined,
): EngineRequest {
  const n = body.n ?? 1;
  const parallel = parallelOptions(body.parallel, model, defaults);
  const maxTokens = grant(model, prompt.length, n, asked, parallel !== undefined);
  const minTokens = body.min_tokens ?? 0;
  if (minTokens > maxTokens) {
    throw new ApiError(
      'invalid_value',
      `min_tokens: expected at most max_tokens (${maxTokens}), got ${minTokens}`,
      'min_tokens',
    );
  }
  for (const [i, token] of (body.stop_token_ids ?? []).entries())
    checkToken(token, model, `stop_token_ids[${i}]`);
  return {
    prompt,
    n,
    maxTokens,
    minTokens,
    ignoreEos: body.ignore_eos ?? false,
    stop: typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []),
    stopTokenIds: body.stop_token_ids ?? [],
    sampling: samplingParams(body, model, defaults),
    parallel,
  };
}

function samplingParams(body: Common, model: ServedModel, defaults: ParallelSettings): SamplingParams {
  const ofBranch = typeof body.parallel === 'object' ? body.parallel.branch_repetition_penalty : undefined;
  return {
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    topK: Math.max(0, body.top_k ?? 0),
    minP: body.min_p ?? 0,
    repetitionPenalty: body.repetition_penalty ?? 1,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    branchRepetitionPenalty: ofBranch ?? defaults.branchRepetitionPenalty,
    logitBias: Object.entries(body.logit_bias ?? {}).map(([token, bias]) => {
      checkToken(Number(token), model, `logit_bias.${token}`);
      return [Number(token), bias];
    }),
    seed: body.seed === undefined ? randomBytes(8).readBigUInt64LE() : BigInt.asUintN(64, BigInt(body.seed)),
  };
}

function parallelOptions(
  asked: Common['parallel'],
  model: ServedModel,
  defaults: ParallelSettings,
): ParallelOptions | undefined {
  if (asked === undefined || asked === false) return undefined;
  if (model.tokenizer.vocabulary.tags === undefined) {
    const message = `the model '${model.name}' can't reason in parallel: its vocabulary lacks the tags of the format (<guideline>, <plan>, <step>, <takeaway> and their ends)`;
    throw new ApiError('parallel_unsupported', message, 'parallel');
  }
  const options = asked === true ? {} : asked;
  return {
    maxBranches: options.max_branches ?? defaults.maxBranches,
    maxDepth: options.max_depth ?? defaults.maxDepth,
    maxBranchTokens: options.max_branch_tokens ?? defaults.maxBranchTokens,
    onInvalid: (options.on_invalid ?? defaults.onInvalid) as ParallelOptions['onInvalid'],
  };
}

/**
 * The tokens that each sample may have: what is asked for, or all that fits. Branches share positions, so under
 * `parallel` only the engine can tell how much of the context a prompt takes and a response will; it keeps within it.
 */
function grant(
  model: ServedModel,
  prompt: number,
  n: number,
  asked: number | undefined,
  parallel: boolean,
): number {
  const { maxPositions, slots } = model.engine.info;
  const least = asked === 0 ? 0 : 1;
  const inContext = maxPositions - prompt;
  const inPool = Math.floor((slots - prompt) / n);
  const ofPrompt = `the prompt is ${prompt} tokens long`;
  if (inContext < least && !parallel) {
    const message = `${ofPrompt}; the model's limit is ${maxPositions} tokens, prompt and response together`;
    throw new ApiError('context_length_exceeded', message);
  }
  const samples = n === 1 ? '' : ` for each of ${n} samples`;
  if (inPool < least) {
    throw new ApiError(
      'kv_cache_exceeded',
      `${ofPrompt}; the KV cache holds ${slots} tokens, and a response needs at least one${samples}`,
    );
  }
  if (asked === undefined) return inContext < 1 ? inPool : Math.min(inContext, inPool);
  if (asked > inPool) {
    const message = `${ofPrompt} and max_tokens is ${asked}${samples}; the KV cache holds ${slots} tokens, so max_tokens may be at most ${inPool}`;
    throw new ApiError('kv_cache_exceeded', message, 'max_tokens');
  }
  if (asked > inContext && !parallel) {
    const message = `${ofPrompt} and max_tokens is ${asked}; the model's limit is ${maxPositions} tokens, so max_tokens may be at most ${inContext}`;
    throw new ApiError('context_length_exceeded', message, 'max_tokens');
  }
  return asked;
}

/** Of HTTP, where a response is a stream or none. */
export function checkStream(body: Pick<Common, 'stream' | 'stream_options'>): void {
  if (body.stream_options !== undefined && body.stream !== true) {
    throw new ApiError('invalid_value', 'stream_options requires stream to be true', 'stream_options');
  }
}

function checkToken(token: number, model: ServedModel, path: string): void {
  const size = model.engine.info.vocabSize;
  if (token < size) return;
  throw new ApiError('invalid_value', `${path}: expected a token id below ${size}, got ${token}`, path);
}
