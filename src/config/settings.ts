/**
 * Every setting, once: flags, environment variables, the keys of the JSON file, their checks and the help text are all
 * derived from these schemas. `kvMemory` is the flag `--kv-memory`, the variable `NPR_SERVE_KV_MEMORY` and the key
 * `kv-memory`. A `format` of bytes, seconds or path says how a setting is written.
 */
import Type, { type Static } from 'typebox';
import { bundledModel } from './paths.js';

/** What a size of the KV cache may be. */
export const kvBytes = { minimum: 2 ** 20, maximum: 2 ** 46, format: 'bytes' } as const;

const engine = {
  model: Type.String({
    default: bundledModel,
    format: 'path',
    minLength: 1,
    description: 'folder of a Hugging Face checkpoint',
  }),
  device: Type.Enum(['auto', 'cpu', 'cuda'], {
    default: 'auto',
    description: 'where the model runs; auto: on a GPU where there is one',
  }),
  threads: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 1024,
    description: 'compute threads of the CPU; 0: one a core',
  }),
  kvMemory: Type.Optional(
    Type.Integer({
      ...kvBytes,
      description:
        'memory of the KV cache; by default 4GiB, on a GPU 90% of what weights and activations leave',
    }),
  ),
  weights: Type.Enum(['bf16', 'int8'], {
    default: 'bf16',
    description: 'how weights are held; int8, on the CPU: half the memory, faster, slightly less exact',
  }),
  isa: Type.Enum(['auto', 'amx', 'avx512', 'avx2', 'plain'], {
    default: 'auto',
    description: 'widest instruction set of the CPU to use',
  }),
  maxBatchTokens: Type.Integer({
    default: 512,
    minimum: 1,
    maximum: 65536,
    description: 'tokens in one engine step; longer prompts are computed in chunks',
  }),
  maxRunning: Type.Integer({
    default: 64,
    minimum: 1,
    maximum: 4096,
    description: 'requests that run at once',
  }),
  maxWaiting: Type.Integer({
    default: 256,
    minimum: 0,
    maximum: 65536,
    description: 'requests that may wait; one more is refused with 429',
  }),
  prefixCache: Type.Boolean({ default: true, description: 'reuse the KV of prefixes that requests share' }),
};

const parallel = {
  maxBranches: Type.Integer({
    default: 16,
    minimum: 1,
    maximum: 256,
    description: 'branches of one parallel block',
  }),
  maxDepth: Type.Integer({ default: 2, minimum: 1, maximum: 16, description: 'how deep blocks may nest' }),
  maxBranchTokens: Type.Integer({
    default: 0,
    minimum: 0,
    maximum: 2 ** 31 - 1,
    description: 'tokens a branch may add; 0: no limit of its own',
  }),
  onInvalid: Type.Enum(['constrain', 'stop', 'ignore'], {
    default: 'constrain',
    description: 'what happens to a tag that the structure does not allow',
  }),
  branchRepetitionPenalty: Type.Number({
    default: 1,
    exclusiveMinimum: 0,
    maximum: 10,
    description: "repetition penalty over a branch's own tokens",
  }),
};

const http = {
  host: Type.String({ default: '127.0.0.1', minLength: 1, description: 'address to listen on' }),
  port: Type.Integer({
    default: 8000,
    minimum: 0,
    maximum: 65535,
    description: 'port to listen on; 0: any free one',
  }),
  servedModelName: Type.Optional(
    Type.String({ minLength: 1, description: "name of the model in the API; by default its folder's name" }),
  ),
  apiKey: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'key that clients must send as a bearer token; by default none',
    }),
  ),
  logLevel: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: 'least severe log lines to write (JSON, on standard error)',
  }),
  bodyLimit: Type.Integer({
    default: 16 * 2 ** 20,
    minimum: 1024,
    maximum: 2 ** 30,
    format: 'bytes',
    description: 'largest request body or WebSocket message',
  }),
  streamBuffer: Type.Integer({
    default: 2 ** 20,
    minimum: 1024,
    maximum: 2 ** 30,
    format: 'bytes',
    description: 'unsent bytes, beside the largest event, at which a slow reader of a stream is cut off',
  }),
  socketRequests: Type.Integer({
    default: 16,
    minimum: 1,
    maximum: 1024,
    description: 'requests that run at once on one WebSocket',
  }),
  drainTimeout: Type.Number({
    default: 30,
    minimum: 0,
    maximum: 86400,
    format: 'seconds',
    description: 'how long a stopping server waits for running requests',
  }),
};

const sampling = {
  maxTokens: Type.Optional(
    Type.Integer({
      minimum: 1,
      description: 'tokens to generate at most, over all branches; by default what fits',
    }),
  ),
  temperature: Type.Number({ default: 0, minimum: 0, maximum: 2, description: 'of sampling; 0: greedy' }),
  topP: Type.Number({ default: 1, exclusiveMinimum: 0, maximum: 1, description: 'nucleus to sample from' }),
  seed: Type.Optional(
    Type.Integer({
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'of sampling; by default random',
    }),
  ),
  system: Type.Optional(Type.String({ description: 'system message before the prompt' })),
  parallel: Type.Boolean({ default: false, description: 'reason in parallel branches' }),
};

/** `npr-serve serve`. */
export const ServeSettings = Type.Object({ ...engine, ...http, ...parallel });
export type ServeSettings = Static<typeof ServeSettings>;

/** `npr-serve generate`. */
export const GenerateSettings = Type.Object({ ...sampling, ...engine, ...parallel });
export type GenerateSettings = Static<typeof GenerateSettings>;

/** What both share: enough to load an engine. */
export const EngineSettings = Type.Object(engine);
export type EngineSettings = Static<typeof EngineSettings>;

/** What a request's `parallel` object leaves out is taken from these. */
export const ParallelSettings = Type.Object(parallel);
export type ParallelSettings = Static<typeof ParallelSettings>;
