/** Requests as training makes them: whole responses, no stops but the model's own. */
import type { EngineRequest, SamplingParams } from '../engine/types.js';
import type { ParallelSettings } from './settings.js';

export interface RequestOptions {
  n: number;
  maxTokens: number;
  sampling: Partial<SamplingParams> & Pick<SamplingParams, 'seed'>;
  policyLogprobs?: boolean;
  /** undefined: the sequential mode. */
  parallel?: ParallelSettings | undefined;
}

export function engineRequest(prompt: number[], options: RequestOptions): EngineRequest {
  const { n, maxTokens, sampling, policyLogprobs = false, parallel } = options;
  return {
    prompt,
    n,
    maxTokens,
    minTokens: 0,
    ignoreEos: false,
    stop: [],
    stopTokenIds: [],
    policyLogprobs,
    sampling: {
      temperature: 1,
      topP: 1,
      topK: 0,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      branchRepetitionPenalty: parallel?.branch_repetition_penalty ?? 1,
      logitBias: [],
      ...sampling,
    },
    parallel: parallel && {
      maxBranches: parallel.max_branches,
      maxDepth: parallel.max_depth,
      maxBranchTokens: parallel.max_branch_tokens,
      onInvalid: parallel.on_invalid,
    },
  };
}
