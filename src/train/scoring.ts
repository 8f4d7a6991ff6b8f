/** What a response is worth. */
import { lastBoxed } from '../answers/boxed.js';
import { equalAnswers } from '../answers/equal.js';
import { formatScore } from '../parallel/score.js';
import type { Example } from './examples.js';
import type { Response } from './sample.js';
import type { StageName } from './settings.js';

export interface Score {
  /** What training raises. */
  reward: number;
  /** The answer is the example's. */
  correct: boolean;
  /** 0: strictly valid, else down to -2. */
  format: number;
}

export type Scorer = (example: Example, response: Response) => Promise<Score>;

export async function scorer(stage: StageName, _settings: object): Promise<Scorer> {
  return async ({ answer }, { text }) => {
    const given = lastBoxed(text);
    const correct = given !== undefined && equalAnswers(given, answer);
    const format = formatScore(text);
    const accuracy = correct ? 1 : -1;
    return { reward: stage === 'papo' || format === 0 ? accuracy : format, correct, format };
  };
}
