/** The engine as the rest of the program sees it, over the addon. */
import { describe, expect, it } from 'vitest';
import { loadEngine } from '../../src/engine/engine.js';
import type { EngineEvent } from '../../src/engine/types.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';
import { engineOptions, until } from '../server/start.js';
import { engineRequest } from './request.js';

const { vocabulary } = await Tokenizer.load(labModel);

describe('the engine', () => {
  it('tells a request everything, and log-probabilities where it asks for them', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const events: EngineEvent[] = [];
    await engine.submit(engineRequest({ maxTokens: 5, logprobs: 2, promptLogprobs: 1 }), (step) =>
      events.push(...step),
    );
    expect(events[0]).toEqual({ type: 'started', promptTokens: 3, cachedTokens: 0 });
    const scored = events.find((event) => event.type === 'prompt_logprobs');
    expect(scored?.logprobs.map(({ token }) => token)).toEqual([2, 3]);
    const deltas = events.filter((event) => event.type === 'delta');
    expect(deltas.flatMap(({ tokens }) => tokens)).toHaveLength(5);
    for (const { tokens, logprobs } of deltas) {
      expect(logprobs?.map(({ token }) => token)).toEqual(tokens);
      for (const { token, logprob, top } of logprobs ?? []) {
        expect(logprob).toBeLessThanOrEqual(0);
        expect(top).toHaveLength(2);
        expect(top[0]).toEqual([token, logprob]); // greedy
      }
    }
    expect(events.at(-2)).toMatchObject({ type: 'choice_finished', choice: 0, reason: 'length' });
    const usage = { promptTokens: 3, cachedTokens: 0, completionTokens: 5, criticalPathTokens: 5 };
    expect(events.at(-1)).toMatchObject({ type: 'finished', usage, timings: { preemptions: 0 } });
    await engine.close();
  });

  it('reports log-probabilities under the policy beside those of the raw logits', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const sampling = { temperature: 0.5 };
    const deltas: Extract<EngineEvent, { type: 'delta' }>[] = [];
    await engine.submit(
      engineRequest({ maxTokens: 20, logprobs: 0, policyLogprobs: true, sampling }),
      (step) => deltas.push(...step.filter((event) => event.type === 'delta')),
    );
    const raw = deltas.flatMap(({ logprobs }) => logprobs?.map(({ logprob }) => logprob) ?? []);
    const policy = deltas.flatMap(({ policyLogprobs }) => policyLogprobs ?? []);
    expect([raw.length, policy.length]).toEqual([20, 20]);
    expect(Math.max(...policy)).toBeLessThanOrEqual(0);
    expect(policy).not.toEqual(raw);
    await engine.close();
  });

  it('cancels a request whose reader throws', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const submitted = engine.submit(engineRequest(), (events) => {
      if (events.some((event) => event.type === 'delta')) throw new Error('enough');
    });
    await expect(submitted).rejects.toThrow('enough');
    await until(() => engine.stats().running === 0);
    expect(engine.stats().totals.completionTokens).toBeLessThan(1000);
    await engine.close();
  });

  it('that closes ends what runs, and refuses everything after it as an EngineError', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const running = engine
      .submit(engineRequest(), () => {})
      .then(
        () => 'resolved',
        (error: unknown) => error,
      );
    await until(() => engine.stats().running === 1);
    await engine.close();
    // It was cancelled, and may have been told so before the end.
    const end = await running;
    if (end !== 'resolved') expect(end).toMatchObject({ name: 'EngineError', code: 'unavailable' });
    const refused = { name: 'EngineError', code: 'unavailable' };
    await expect(engine.submit(engineRequest(), () => {})).rejects.toMatchObject(refused);
    await expect(engine.checkIntegrity()).rejects.toMatchObject(refused);
    expect(() => engine.stats()).toThrow(expect.objectContaining(refused));
  });
});
