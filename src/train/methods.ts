/** What tells DAPO and PAPO apart. */
import type { Loss } from '../engine/trainer_types.js';
import type { Segment } from '../parallel/segments.js';
import { hasTags } from '../parallel/tags.js';
import { batchAdvantages, groupAdvantages } from './advantages.js';
import type { Scored } from './figures.js';
import type { PapoSettings, ParallelSettings, ZeroSettings } from './settings.js';

export interface Method {
  name: 'zero' | 'papo';
  loss: Loss;
  /** Optimizer steps a batch. */
  updates: number;
  filter: PapoSettings['filter'];
  /** The loss is over what the engine chose, too. */
  forcedToo: boolean;
  advantages(groups: readonly number[][]): number[][];
  /** undefined: the sequential mode. */
  parallel: ParallelSettings | undefined;
}

/** Many small updates a batch against the log-probabilities stored at sampling, their ratio clipped. */
export function dapo(settings: ZeroSettings): Method {
  const { updates, clip } = settings;
  return {
    name: 'zero',
    loss: { kind: 'clipped', low: clip.low, high: clip.high, dual: clip.dual },
    updates,
    filter: 'none',
    forcedToo: false,
    advantages: groupAdvantages,
    parallel: undefined,
  };
}

/** One update a batch: the gradient of advantage times log-probability, without ratio or clip. */
export function papo(settings: PapoSettings, parallel: ParallelSettings): Method {
  return {
    name: 'papo',
    loss: { kind: 'likelihood' },
    updates: 1,
    filter: settings.filter,
    forcedToo: settings.loss_on_forced_tokens,
    advantages: batchAdvantages,
    parallel,
  };
}

/** Whether the update may learn from a response. One that was cut off by its limit stays, with the reward it got. */
export function passes({ response, score }: Scored, filter: Method['filter']): boolean {
  if (response.tokens.length === 0) return false; // nothing to learn from
  if (filter === 'none') return true;
  if (response.reason === 'invalid_structure') return false;
  if (response.reason === 'length') return true;
  return filter === 'format' ? score.format === 0 : wellFormed(response.segments);
}

/** At least one block, and no tag outside blocks. */
function wellFormed(segments: readonly Segment[]): boolean {
  return (
    segments.some((segment) => segment.type === 'block') &&
    segments.every((segment) => segment.type === 'block' || !hasTags(segment.text))
  );
}
