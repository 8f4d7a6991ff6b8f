/** From responses to what the trainer takes. */
import type { TrainGroup } from '../engine/trainer_types.js';
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

/** What the policy chose: one group for each request, so that its responses share their prompt. */
export function sampledGroups(responses: readonly Weighted[]): TrainGroup[] {
  return byRequest(responses).map(([request, members]) => ({
    prompt: Int32Array.from(request.prompt),
    request,
    parallel: request.parallel !== undefined,
    trajectories: members.map(({ response, weight }) => ({
      tokens: Int32Array.from(response.tokens),
      weights: Float32Array.from(response.forced, (forced) => (forced ? 0 : weight)),
      forced: Uint8Array.from(response.forced, Number),
      oldLogprobs: Float32Array.from(response.policyLogprobs),
      choice: response.choice,
    })),
  }));
}

/**
 * What the engine chose. Nobody sampled these tokens, so that they have no probability but the model's own: they are read once
 * more, as text.
 */
export function forcedGroups(responses: readonly Weighted[]): TrainGroup[] {
  const forced = responses.filter(({ response }) => response.forced.includes(true));
  return byRequest(forced).map(([request, members]) => ({
    prompt: Int32Array.from(request.prompt),
    parallel: true,
    trajectories: members.map(({ response, weight }) => ({
      tokens: Int32Array.from(response.tokens),
      weights: Float32Array.from(response.forced, (forced) => (forced ? weight : 0)),
    })),
  }));
}

function byRequest(responses: readonly Weighted[]): [Response['request'], Weighted[]][] {
  const groups = new Map<Response['request'], Weighted[]>();
  for (const one of responses) {
    const group = groups.get(one.response.request);
    if (group === undefined) groups.set(one.response.request, [one]);
    else group.push(one);
  }
  return [...groups];
}
