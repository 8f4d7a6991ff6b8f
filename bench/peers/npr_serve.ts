/** This engine, as one of those compared. */
import { randomModel } from '../models.js';
import { engineBench } from '../native_program.js';
import { type Engine, round } from './engine.js';

export function nprServe(version: string): Engine {
  return {
    name: 'npr-serve',
    version,
    async measure(shape, { threads, trunk, tokens, streams }) {
      // It doesn't time a stream's first token, which comes with the prompt.
      const options = { threads, trunk, tokens: tokens + 1, rounds: 1, branches: streams.join(',') };
      const lines = await engineBench('speed', await randomModel(shape), options);
      const prefills = lines.filter((line) => line.type === 'prefill');
      const decodes = lines.filter((line) => line.type === 'decode');
      return round(
        prefills.map((line) => line.tokens_per_second),
        decodes.map((line) => ({ streams: line.branches, tokensPerSecond: line.tokens_per_second })),
      );
    },
  };
}
