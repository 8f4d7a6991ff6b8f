/** A user's own reward: the default export of a JavaScript or TypeScript module. */
import { resolve } from 'node:path';
import { createJiti } from 'jiti';
import type { Segment } from '../parallel/segments.js';

export interface RewardSample {
  question: string;
  /** The expected one. */
  answer: string;
  response: string;
  /** How many the response has, forced ones included. */
  tokens: number;
  /** The parallel format is strictly valid. */
  valid: boolean;
  /** The format score: 0 where valid, else down to -2. */
  format: number;
  /** The last `\boxed{}` of the response is the expected answer. */
  correct: boolean;
  /** The response as texts and blocks with their plans, branches and takeaways. */
  segments: readonly Segment[];
}

export type RewardModule = (sample: RewardSample) => Promise<number>;

/** A module that cannot be loaded, throws, or returns something other than a finite number. */
export class RewardError extends Error {
  constructor(path: string, message: string, cause?: unknown) {
    super(`reward module ${path}: ${message}`, { cause });
    this.name = 'RewardError';
  }
}

/** Types are stripped, not checked. Rejects with a RewardError, as does the function it returns. */
export async function loadReward(path: string): Promise<RewardModule> {
  let reward: unknown;
  try {
    reward = await createJiti(import.meta.url, { fsCache: false }).import(resolve(path), { default: true });
  } catch (error) {
    throw new RewardError(path, `could not be loaded: ${(error as Error)?.message ?? String(error)}`, error);
  }
  if (typeof reward !== 'function')
    throw new RewardError(path, `expected a function as its default export, found ${typeof reward}`);
  return async (sample) => {
    const fail = (what: string, cause?: unknown) =>
      new RewardError(path, `${what}, for the question ${JSON.stringify(sample.question)}`, cause);
    let value: unknown;
    try {
      value = await reward(sample);
    } catch (error) {
      throw fail(`threw ${error instanceof Error ? error.message : String(error)}`, error);
    }
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw fail(`expected a finite number, got ${typeof value === 'number' ? value : typeof value}`);
    return value;
  };
}
