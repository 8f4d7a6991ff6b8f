/** Reads a batch of events as the addon hands them over; native/engine/addon/event_batch.h says how they lie there. */
import { engineErrorCodes } from './errors.js';
import type {
  BranchEnd,
  Channel,
  EngineErrorCode,
  EngineEvent,
  EngineTimings,
  EngineUsage,
  FinishReason,
  TokenLogprob,
} from './types.js';

/** The end of a request that the engine gave up. */
export interface Failure {
  type: 'failed';
  code: EngineErrorCode;
  message: string;
}

/** In the order of the enumerations in native/engine/event.h. */
const types = [
  'started',
  'prompt_logprobs',
  'delta',
  'block_opened',
  'branch_created',
  'branch_completed',
  'block_joined',
  'choice_finished',
  'finished',
  'failed',
] as const;
const channels: readonly Channel[] = ['content', 'block'];
const reasons: readonly FinishReason[] = ['stop', 'length', 'invalid_structure', 'cancelled'];
const ends: readonly BranchEnd[] = ['step_end', 'stop', 'length', 'invalid_structure'];

export class EventReader {
  readonly #numbers: Float64Array;
  readonly #text: string;
  /** What has been read of each. */
  #at = 0;
  #textAt = 0;

  constructor(numbers: Float64Array, text: string) {
    this.#numbers = numbers;
    this.#text = text;
  }

  get done(): boolean {
    return this.#at === this.#numbers.length;
  }

  /** The request that the next event belongs to; to be asked before each event. */
  request(): number {
    return this.#number();
  }

  /** `stop`: the request's stop strings. Throws where the batch is not one. */
  event(stop: readonly string[]): EngineEvent | Failure {
    const type = named(types, this.#number());
    switch (type) {
      case 'started':
        return { type, promptTokens: this.#number(), cachedTokens: this.#number() };
      case 'prompt_logprobs':
        return { type, first: this.#number(), logprobs: this.#logprobs() };
      case 'delta': {
        const delta: EngineEvent = {
          type,
          choice: this.#number(),
          branch: this.#number(),
          channel: named(channels, this.#number()),
          text: this.#string(),
          tokens: this.#numberList(),
          forced: this.#number() !== 0,
        };
        const logprobs = this.#logprobs();
        if (logprobs.length > 0) delta.logprobs = logprobs;
        const policyLogprobs = this.#numberList();
        if (policyLogprobs.length > 0) delta.policyLogprobs = policyLogprobs;
        return delta;
      }
      case 'block_opened':
        return {
          type,
          choice: this.#number(),
          branch: this.#number(),
          block: this.#number(),
          plans: this.#list(() => ({ number: this.#string(), text: this.#string() })),
        };
      case 'branch_created':
        return {
          type,
          choice: this.#number(),
          branch: this.#number(),
          parent: this.#number(),
          block: this.#number(),
          index: this.#number(),
          number: this.#string(),
        };
      case 'branch_completed':
        return {
          type,
          choice: this.#number(),
          branch: this.#number(),
          block: this.#number(),
          end: named(ends, this.#number()),
          tokens: this.#number(),
        };
      case 'block_joined':
        return { type, choice: this.#number(), branch: this.#number(), block: this.#number() };
      case 'choice_finished': {
        const choice = this.#number();
        const reason = named(reasons, this.#number());
        const stopToken = this.#number();
        const stopString = stop[this.#number()];
        return {
          type,
          choice,
          reason,
          ...(stopToken < 0 ? {} : { stopToken }),
          ...(stopString === undefined ? {} : { stopString }),
          usage: this.#usage(),
        };
      }
      case 'finished':
        return { type, usage: this.#usage(), timings: this.#timings() };
      case 'failed':
        return { type, code: named(engineErrorCodes, this.#number()), message: this.#string() };
    }
  }

  #number(): number {
    const value = this.#numbers[this.#at++];
    if (value === undefined) throw new RangeError('a batch of events ends early');
    return value;
  }

  #string(): string {
    const start = this.#textAt;
    this.#textAt += this.#number();
    return this.#text.slice(start, this.#textAt);
  }

  #numberList(): number[] {
    const list: number[] = [];
    for (let left = this.#number(); left > 0; left--) list.push(this.#number());
    return list;
  }

  #list<T>(item: () => T): T[] {
    const list: T[] = [];
    for (let left = this.#number(); left > 0; left--) list.push(item());
    return list;
  }

  #logprobs(): TokenLogprob[] {
    return this.#list(() => ({
      token: this.#number(),
      logprob: this.#number(),
      top: this.#list(() => [this.#number(), this.#number()] as [number, number]),
    }));
  }

  #usage(): EngineUsage {
    return {
      promptTokens: this.#number(),
      cachedTokens: this.#number(),
      completionTokens: this.#number(),
      forcedTokens: this.#number(),
      blocks: this.#number(),
      branches: this.#number(),
      criticalPathTokens: this.#number(),
    };
  }

  #timings(): EngineTimings {
    return {
      queueMs: this.#number(),
      promptMs: this.#number(),
      totalMs: this.#number(),
      preemptions: this.#number(),
    };
  }
}

function named<T>(names: readonly T[], index: number): T {
  const name = names[index];
  if (name === undefined) throw new RangeError(`a batch of events has ${index} where a name is expected`);
  return name;
}
