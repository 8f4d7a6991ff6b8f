/** A request of the engine: greedy and sequential, but for what is given. */
import type { EngineRequest, SamplingParams } from '../../src/engine/types.js';

export function engineRequest({
  sampling,
  ...given
}: Partial<Omit<EngineRequest, 'sampling'>> & { sampling?: Partial<SamplingParams> } = {}): EngineRequest {
  return {
    prompt: [1, 2, 3],
    n: 1,
    maxTokens: 1000,
    minTokens: 0,
    ignoreEos: true,
    stop: [],
    stopTokenIds: [],
    sampling: {
      temperature: 0,
      topP: 1,
      topK: 0,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      branchRepetitionPenalty: 1,
      logitBias: [],
      seed: 1n,
      ...sampling,
    },
    ...given,
  };
}
