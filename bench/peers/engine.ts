/** What is compared: engines that do the same work on the same weights, one round at a time, each in its own process. */
import type { Shape } from '../models.js';
import { spread } from '../spread.js';

export interface Engine {
  name: string;
  version: string;
  measure(shape: Shape, work: Work): Promise<Round>;
}

export interface Work {
  threads: number;
  /** Tokens of the prompt that all streams share. */
  trunk: number;
  /** That every stream adds. */
  tokens: number;
  /** Numbers of streams; one that comes several times is measured as often. */
  streams: readonly number[];
}

/** Tokens per second, over all streams. */
export interface Round {
  prefill: number;
  decode: Map<number, number>;
}

export interface Decode {
  streams: number;
  tokensPerSecond: number;
}

/** Medians of what was measured more than once. */
export function round(prefills: readonly number[], decodes: readonly Decode[]): Round {
  const decode = new Map<number, number>();
  for (const { streams } of decodes) {
    const same = decodes.filter((each) => each.streams === streams);
    decode.set(streams, spread(same.map((each) => each.tokensPerSecond)).median);
  }
  return { prefill: spread(prefills).median, decode };
}
