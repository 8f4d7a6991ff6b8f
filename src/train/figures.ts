/** What responses amount to in the mean, and passes over them. */
import type { PassResult } from '../engine/trainer_types.js';
import type { Segment } from '../parallel/segments.js';
import { mean } from './advantages.js';
import type { Example } from './examples.js';
import type { Trace } from './log/trace_files.js';
import type { Response } from './sample.js';
import type { Score } from './scoring.js';

export interface Scored {
  example: Example;
  response: Response;
  score: Score;
}

export type ResponseFigures = Record<
  'reward' | 'accuracy' | 'valid' | 'parallel' | 'branches' | 'tokens' | 'critical_path' | 'cut',
  number
>;

/**
 * Means over responses. valid: of a format score of 0; parallel: with a block of two branches or more; branches: over all
 * blocks; critical_path: the longest chain of tokens that had to wait for each other; cut: ended by the limit of tokens.
 */
export function responseFigures(responses: readonly Scored[]): ResponseFigures {
  const over = (value: (one: Scored) => number) => mean(responses.map(value));
  return {
    reward: over(({ score }) => score.reward),
    accuracy: over(({ score }) => Number(score.correct)),
    valid: over(({ score }) => Number(score.format === 0)),
    parallel: over(({ response }) => Number(widest(response.segments) >= 2)),
    branches: over(({ response }) => branches(response.segments)),
    tokens: over(({ response }) => response.tokens.length),
    critical_path: over(({ response }) => response.usage.criticalPathTokens),
    cut: over(({ response }) => Number(response.reason === 'length')),
  };
}

/** Of all passes of a step together. */
export function passFigures(passes: readonly PassResult[]): Record<string, number> {
  const sum = (value: (pass: PassResult) => number) => passes.reduce((total, pass) => total + value(pass), 0);
  const tokens = sum((pass) => pass.tokens);
  const overTokens = (value: (pass: PassResult) => number) =>
    tokens === 0 ? 0 : sum((pass) => value(pass) * pass.tokens) / tokens;
  return {
    loss: mean(passes.map((pass) => pass.loss)),
    entropy: overTokens((pass) => pass.entropy),
    clipped: overTokens((pass) => pass.clipped),
    loss_tokens: tokens,
    rows: sum((pass) => pass.rows),
    saved_rows: sum((pass) => pass.savedRows),
  };
}

function branches(segments: readonly Segment[]): number {
  let count = 0;
  for (const segment of segments)
    if (segment.type === 'block')
      for (const branch of segment.branches) count += 1 + branches(branch.segments ?? []);
  return count;
}

function widest(segments: readonly Segment[]): number {
  let most = 0;
  for (const segment of segments)
    if (segment.type === 'block')
      most = Math.max(
        most,
        segment.branches.length,
        ...segment.branches.map((branch) => widest(branch.segments ?? [])),
      );
  return most;
}

/** For people: a response of each of the first `count` questions. */
export function traces(groups: readonly (readonly Scored[])[], count: number): Trace[] {
  return groups.slice(0, count).flatMap(([first]) => {
    if (first === undefined) return [];
    const { example, response, score } = first;
    const { tokens, reason, usage, text } = response;
    const right = score.correct ? 'right' : 'wrong';
    const verdict = `${right}, reward ${score.reward}, format ${score.format}; ${tokens.length} tokens, ${usage.criticalPathTokens} of them in a row; ended by: ${reason}`;
    return [{ question: example.question, answer: example.answer, verdict, text }];
  });
}
