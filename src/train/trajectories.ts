/** From responses to what the trainer takes. */
import type { TrainGroup, Trajectory } from '../engine/trainer_types.js';
import type { Response } from './sample.js';

/** A response and what each of its tokens in the loss weighs. */
export interface Weighted {
  response: Response;
  weight: number;
}

/** Tokens of a response that the loss is over: those the policy chose, or all. */
export function lossTokens({ tokens, forced }: Response, forcedToo: boolean): number {
  return forcedToo ? tokens.length : forced.filter((one) => !one).length;
}

/** One group for each request, so that its responses share their prompt. */
export function trainGroups(responses: readonly Weighted[], forcedToo: boolean): TrainGroup[] {
  const groups = new Map<Response['request'], TrainGroup>();
  for (const { response, weight } of responses) {
    const { request } = response;
    let group = groups.get(request);
    if (group === undefined) {
      group = {
        prompt: Int32Array.from(request.prompt),
        trajectories: [],
        request,
        parallel: request.parallel !== undefined,
      };
      groups.set(request, group);
    }
    group.trajectories.push(trajectory(response, weight, forcedToo));
  }
  return [...groups.values()];
}

function trajectory(response: Response, weight: number, forcedToo: boolean): Trajectory {
  const { tokens, forced, policyLogprobs, choice } = response;
  return {
    tokens: Int32Array.from(tokens),
    weights: Float32Array.from(forced, (one) => (one && !forcedToo ? 0 : weight)),
    forced: Uint8Array.from(forced, Number),
    oldLogprobs: Float32Array.from(policyLogprobs),
    choice,
  };
}
