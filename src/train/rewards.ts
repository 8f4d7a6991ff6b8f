/** What a response is worth. */
import { lastBoxed } from '../answers/boxed.js';
import { equalAnswers } from '../answers/equal.js';
import { formatScore } from '../parallel/score.js';
import type { Segment } from '../parallel/segments.js';
import type { Example } from './examples.js';
import type { RewardModule } from './reward_module.js';

/** What is judged. `segments` and `tokens` are those that were sampled. */
export interface Judged {
  text: string;
  tokens: readonly number[];
  segments: readonly Segment[];
}

export interface Score {
  /** What training raises. */
  reward: number;
  /** The answer is the example's. */
  correct: boolean;
  /** 0: strictly valid, else down to -2. */
  format: number;
}

/** Near the limit of a response's length a penalty grows, so that being cut off is no surprise. */
export interface Overlong {
  /** Tokens before the limit over which it grows. */
  buffer: number;
  /** The penalty at the limit. */
  factor: number;
}

export interface RewardOptions {
  /** zero: the format first, and only where it is valid the answer. papo: the answer alone. */
  kind: 'zero' | 'papo';
  /** Tokens of a response at most. */
  maxTokens: number;
  overlong?: Overlong | undefined;
  /** In place of the stage's own reward; the overlong penalty still applies. */
  module?: RewardModule | undefined;
}

/** Rejects with a RewardError where a user's module fails. */
export async function score(example: Example, response: Judged, options: RewardOptions): Promise<Score> {
  const format = formatScore(response.text);
  const correct = isCorrect(response.text, example.answer);
  const accuracy = correct ? 1 : -1;
  const { kind, maxTokens, overlong, module } = options;
  const own = kind === 'zero' && format < 0 ? format : accuracy;
  const reward =
    module === undefined
      ? own
      : await module({
          question: example.question,
          answer: example.answer,
          response: response.text,
          tokens: response.tokens.length,
          valid: format === 0,
          format,
          correct,
          segments: response.segments,
        });
  return { reward: reward + overlongPenalty(response.tokens.length, maxTokens, overlong), correct, format };
}

/** By the last `\boxed{}`. */
export function isCorrect(response: string, answer: string): boolean {
  const given = lastBoxed(response);
  return given !== undefined && equalAnswers(given, answer);
}

/**
 * DAPO's soft punishment (arXiv 2503.14476, equation 13): 0 up to `maxTokens - buffer`, from there linearly down to
 * -factor at `maxTokens`.
 */
export function overlongPenalty(tokens: number, maxTokens: number, overlong?: Overlong): number {
  if (overlong === undefined) return 0;
  const over = Math.min(tokens - (maxTokens - overlong.buffer), overlong.buffer);
  return over <= 0 ? 0 : (-over / overlong.buffer) * overlong.factor;
}
