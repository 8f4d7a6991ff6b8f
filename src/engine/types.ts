/** What crosses the border to the native engine: plain data, in the engine's own terms. */
import type { Trainer, TrainerOptions } from './trainer_types.js';

export type OnInvalid = 'constrain' | 'stop' | 'ignore';

export interface ParallelOptions {
  maxBranches: number;
  maxDepth: number;
  /** Tokens a branch may add after its head; 0: no limit of its own. */
  maxBranchTokens: number;
  onInvalid: OnInvalid;
}

export interface SamplingParams {
  /** 0: greedy, the lowest id among equals. */
  temperature: number;
  topP: number;
  /** 0: off. */
  topK: number;
  minP: number;
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  branchRepetitionPenalty: number;
  logitBias: [token: number, bias: number][];
  /** 64 bits. */
  seed: bigint;
}

export interface EngineRequest {
  prompt: number[];
  /** Samples of one prompt. */
  n: number;
  /** Of each sample, over all its branches; 0 only scores the prompt. */
  maxTokens: number;
  minTokens: number;
  ignoreEos: boolean;
  stop: string[];
  stopTokenIds: number[];
  /** Top alternatives to report beside each sampled token; undefined: no log-probabilities. */
  logprobs?: number | undefined;
  /** Likewise for every prompt token. */
  promptLogprobs?: number | undefined;
  /** Report of every token its log-probability under the distribution that it was drawn from. */
  policyLogprobs?: boolean | undefined;
  sampling: SamplingParams;
  /** undefined: the sequential mode. */
  parallel?: ParallelOptions | undefined;
}

/** The tokens of the structure, absent where the model's vocabulary lacks one of the eight. */
export interface TagTokens {
  guideline: number;
  guidelineEnd: number;
  plan: number;
  planEnd: number;
  step: number;
  stepEnd: number;
  takeaway: number;
  takeawayEnd: number;
}

/** What the engine knows of the tokenizer. */
export interface Vocabulary {
  /** The bytes of every token, one after another; token i is bytes[offsets[i] .. offsets[i + 1]). */
  bytes: Uint8Array;
  offsets: Uint32Array;
  /** Tokens that end a sequence; their text is never emitted. */
  endTokens: number[];
  tags?: TagTokens | undefined;
  /** `<|im_start|>`, `assistant`, newline: the head of a turn in which structure is read; absent where unknown. */
  turnHead: number[];
  /** `<|im_end|>`; -1 where unknown. */
  turnEnd: number;
  /** Token ids of one newline, and of `:`, each encoded by itself. */
  newline: number[];
  colon: number[];
  /** Token ids of "0" .. "9" and "." each by itself, keyed by the character. */
  digits: Record<string, number[]>;
}

export interface LoadOptions {
  model: string;
  /** 'auto': a GPU where there is one that can do what is asked, else the CPU. */
  device: 'auto' | 'cpu' | 'cuda';
  /** Of the CPU; 0: one a core. */
  threads: number;
  /** undefined: 4 GiB; on a GPU 90% of what weights and activations leave. */
  kvMemoryBytes?: number | undefined;
  weights: 'bf16' | 'int8';
  /** The widest instruction set to use; 'auto': what the machine has. */
  isa: 'auto' | 'amx' | 'avx512' | 'avx2' | 'plain';
  /** Tokens in one engine step. */
  maxBatchTokens: number;
  /** Requests that run at once; others wait. */
  maxRunning: number;
  /** Requests that may wait; one more is refused. */
  maxWaiting: number;
  prefixCache: boolean;
}

export interface ModelInfo {
  vocabSize: number;
  maxPositions: number;
  /** KV slots: tokens that the pool holds at once. */
  slots: number;
  /** For people: backend, instruction set, threads. */
  backend: string;
  parameters: number;
}

export type Channel = 'content' | 'block';
export type FinishReason = 'stop' | 'length' | 'invalid_structure' | 'cancelled';
export type BranchEnd = 'step_end' | 'stop' | 'length' | 'invalid_structure';

export interface TokenLogprob {
  token: number;
  logprob: number;
  /** Alternatives in falling order of probability. */
  top: [token: number, logprob: number][];
}

export interface EngineUsage {
  promptTokens: number;
  cachedTokens: number;
  /** Over all branches, forced ones included. */
  completionTokens: number;
  forcedTokens: number;
  blocks: number;
  branches: number;
  /** The longest chain of tokens that had to wait for each other. */
  criticalPathTokens: number;
}

export interface EngineTimings {
  queueMs: number;
  promptMs: number;
  totalMs: number;
  preemptions: number;
}

/** Branch 0 of a choice is its trunk; others are numbered as they are created. */
export type EngineEvent =
  | { type: 'started'; promptTokens: number; cachedTokens: number }
  | { type: 'prompt_logprobs'; first: number; logprobs: TokenLogprob[] }
  | {
      type: 'delta';
      choice: number;
      branch: number;
      channel: Channel;
      /** Whole UTF-8 characters; may be empty while a character or a stop string is incomplete. */
      text: string;
      /** All that the response holds, the end of sequence that finishes a choice included. */
      tokens: number[];
      /** True where the engine, not the policy, chose these tokens; their log-probability is 0. */
      forced: boolean;
      logprobs?: TokenLogprob[];
      policyLogprobs?: number[];
    }
  | {
      type: 'block_opened';
      choice: number;
      /** The parent. */
      branch: number;
      block: number;
      plans: { number: string; text: string }[];
    }
  | {
      type: 'branch_created';
      choice: number;
      branch: number;
      parent: number;
      block: number;
      index: number;
      number: string;
    }
  | {
      type: 'branch_completed';
      choice: number;
      branch: number;
      block: number;
      end: BranchEnd;
      tokens: number;
    }
  | { type: 'block_joined'; choice: number; branch: number; block: number }
  | {
      type: 'choice_finished';
      choice: number;
      reason: FinishReason;
      /** The stop token or stop string that ended it, if one did. */
      stopToken?: number;
      stopString?: string;
      usage: EngineUsage;
    }
  | { type: 'finished'; usage: EngineUsage; timings: EngineTimings };

export type EngineErrorCode =
  | 'invalid_checkpoint'
  | 'invalid_request'
  | 'context_length'
  | 'queue_full'
  | 'unavailable'
  | 'out_of_memory'
  | 'internal';

export interface EngineStats {
  running: number;
  waiting: number;
  /** Branches that decode now. */
  branches: number;
  slots: { total: number; free: number; cached: number; used: number };
  totals: {
    steps: number;
    promptTokens: number;
    cachedTokens: number;
    completionTokens: number;
    forcedTokens: number;
    blocks: number;
    branches: number;
    preemptions: number;
    requests: number;
  };
}

/**
 * The engine as the rest of the program sees it. Every method may throw an EngineError.
 */
export interface Engine {
  readonly info: ModelInfo;
  /**
   * Runs a request. `take` gets the events of each engine step as they come, `finished` last; no event waits anywhere.
   * What it throws ends the request. Aborting `signal` cancels: the request ends soon, as one that is cut short.
   * Rejects with an EngineError where the engine refuses the request or fails, or with what `take` threw.
   */
  submit(request: EngineRequest, take: (events: EngineEvent[]) => void, signal?: AbortSignal): Promise<void>;
  stats(): EngineStats;
  /** A trainer of this engine's weights, one at a time. Rejects with invalid_request where they are not bf16. */
  trainer(options: TrainerOptions): Promise<Trainer>;
  /** Throws where a slot has two owners or none. */
  checkIntegrity(): Promise<void>;
  /** Cancels what runs and frees everything. */
  close(): Promise<void>;
}
