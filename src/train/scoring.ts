/** What a stage scores responses by. */
import type { Example } from './examples.js';
import { loadReward } from './reward_module.js';
import { type RewardOptions, type Score, score } from './rewards.js';
import type { Response } from './sample.js';
import type { StageName, StageSettings } from './settings.js';

export type { Score } from './rewards.js';
export type Scorer = (example: Example, response: Response) => Promise<Score>;

/**
 * For responses of at most `maxTokens`. A stage that has no reward of its own is validated by that of its mode. Rejects with a
 * RewardError.
 */
export async function scorer(stage: StageName, maxTokens: number, settings?: StageSettings): Promise<Scorer> {
  const options: RewardOptions = { kind: stage === 'beta' || stage === 'papo' ? 'papo' : 'zero', maxTokens };
  if (settings !== undefined && 'sampling' in settings) {
    options.overlong = settings.overlong;
    if (settings.reward !== undefined) options.module = await loadReward(settings.reward);
  }
  return (example, response) => score(example, response, options);
}
