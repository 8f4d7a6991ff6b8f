/** What both kinds of response are made of. */
import { randomUUID } from 'node:crypto';
import type { Static } from 'typebox';
import type { EngineEvent, EngineRequest, EngineUsage } from '../../engine/types.js';
import type { FinishReason as ReportedReason, Usage } from '../schemas/common.js';

/** A cancelled request has no response. */
export type Reason = Static<typeof ReportedReason>;
export type Finished = Extract<EngineEvent, { type: 'choice_finished' }>;

export function newId(prefix: string): string {
  return `${prefix}-${randomUUID().replaceAll('-', '')}`;
}

export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** Of one or several requests that answer one call; with the extension where the call asked for branches. */
export function usageOf(usages: readonly EngineUsage[], parallel: boolean): Static<typeof Usage> {
  const sum = (key: keyof EngineUsage) => usages.reduce((total, usage) => total + usage[key], 0);
  const usage = {
    prompt_tokens: sum('promptTokens'),
    completion_tokens: sum('completionTokens'),
    total_tokens: sum('promptTokens') + sum('completionTokens'),
    prompt_tokens_details: { cached_tokens: sum('cachedTokens') },
  };
  if (!parallel) return usage;
  return {
    ...usage,
    parallel: {
      forced_tokens: sum('forcedTokens'),
      blocks: sum('blocks'),
      branches: sum('branches'),
      critical_path_tokens: Math.max(0, ...usages.map((one) => one.criticalPathTokens)),
    },
  };
}

/** Why a choice ended, and by which of the request's stop strings or tokens if by one; the end of sequence is none. */
export function ending(
  event: Finished,
  request: EngineRequest | undefined,
): { finish_reason: Reason; stop_reason: string | number | null } {
  const { stopToken } = event;
  const asked = stopToken !== undefined && request?.stopTokenIds.includes(stopToken);
  return {
    finish_reason: event.reason as Reason,
    stop_reason: event.stopString ?? (asked ? stopToken : null),
  };
}

const hole = randomUUID();

/** The JSON of objects that are alike but for one string: the rest is serialised once. */
export function jsonTemplate(make: (text: string) => object): (text: string) => string {
  const [before, after] = JSON.stringify(make(hole)).split(JSON.stringify(hole));
  return (text) => before + JSON.stringify(text) + after;
}
