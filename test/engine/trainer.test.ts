/** The trainer over the addon and the lab model. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadEngine } from '../../src/engine/engine.js';
import { EngineError } from '../../src/engine/errors.js';
import type { TrainerOptions, TrainGroup, Trajectory } from '../../src/engine/trainer_types.js';
import type { Engine } from '../../src/engine/types.js';
import { FlatOrder } from '../../src/parallel/flat_order.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';
import { engineOptions, until } from '../server/start.js';
import { engineRequest } from './request.js';

const tokenizer = await Tokenizer.load(labModel);
const { vocabulary } = tokenizer;
const prompt = await tokenizer.renderChat([{ role: 'user', content: 'Compute 51*6 + 80*2.' }], {
  addGenerationPrompt: true,
});
const directory = await mkdtemp(join(tmpdir(), 'npr-trainer-'));
afterAll(() => rm(directory, { recursive: true }));

const options: TrainerOptions = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clipNorm: 1,
  microBatchTokens: 1024,
  recompute: 'layer',
};

const request = engineRequest({
  prompt,
  n: 3,
  maxTokens: 200,
  ignoreEos: false,
  policyLogprobs: true,
  sampling: { temperature: 2, branchRepetitionPenalty: 1.02, seed: 5n },
  parallel: { maxBranches: 8, maxDepth: 2, maxBranchTokens: 0, onInvalid: 'constrain' },
});

/** Samples the request; all that the policy chose weighs the same. */
async function rollout(engine: Engine): Promise<TrainGroup> {
  const orders = Array.from({ length: request.n }, () => ({
    order: new FlatOrder(),
    deltas: [] as number[][],
  }));
  await engine.submit(request, (events) => {
    for (const event of events) {
      if (!('choice' in event)) continue;
      const { order, deltas } = orders[event.choice] as (typeof orders)[number];
      for (const { tokens, forced, policyLogprobs } of order.push(event)) {
        tokens.forEach((token, i) => {
          deltas.push([token, Number(forced), policyLogprobs?.[i] ?? Number.NaN]);
        });
      }
    }
  });
  const trajectories = orders.map(({ deltas }, choice): Trajectory => {
    const column = (index: number) => deltas.map((delta) => delta[index] as number);
    return {
      tokens: Int32Array.from(column(0)),
      forced: Uint8Array.from(column(1)),
      oldLogprobs: Float32Array.from(column(2)),
      weights: Float32Array.from(column(1), (forced) => (forced ? 0 : 1e-3)),
      choice,
    };
  });
  return { prompt: Int32Array.from(prompt), trajectories, request, parallel: true };
}

function text(tokens: number[], weight = 0.1): TrainGroup {
  return {
    prompt: Int32Array.from(prompt),
    trajectories: [
      { tokens: Int32Array.from(tokens), weights: new Float32Array(tokens.length).fill(weight) },
    ],
    parallel: false,
  };
}

describe('the trainer', () => {
  it('finds the very log-probabilities that were sampled with, before and after an update', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const trainer = await engine.trainer(options);
    for (let round = 0; round < 2; round++) {
      const group = await rollout(engine);
      const result = await trainer.accumulate([group], { kind: 'clipped', low: 0.2, high: 0.28, dual: 10 });
      expect(result.mismatch).toBe(0);
      expect(result.logprobs).toEqual(group.trajectories.map(({ oldLogprobs }) => oldLogprobs));
      const sampled = group.trajectories.flatMap(({ forced }) => [...(forced ?? [])]).filter((f) => f === 0);
      const tokens = group.trajectories.reduce((sum, trajectory) => sum + trajectory.tokens.length, 0);
      expect(result).toMatchObject({
        tokens: sampled.length,
        rows: prompt.length + tokens,
        savedRows: 2 * prompt.length,
        clipped: 0,
      });
      expect(result.entropy).toBeGreaterThan(0.01);
      expect(await trainer.step(1e-4)).toMatchObject({ applied: true, gradientNorm: expect.any(Number) });
      expect((await trainer.score([group])).mismatch).toBeGreaterThan(0);
    }
    await engine.checkIntegrity();
    await engine.close();
  });

  it('saves weights that another engine loads, and a state that it goes on from', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const trainer = await engine.trainer(options);
    const groups = [text(await tokenizer.encode('The answer is 466.'))];
    const scores = async () => (await trainer.score(groups)).logprobs;
    const step = async () => {
      await trainer.accumulate(groups, { kind: 'likelihood' });
      await trainer.step(1e-3);
    };
    const start = await scores();
    await step();
    const state = join(directory, 'state.safetensors');
    await trainer.saveState(state);
    const model = join(directory, 'model');
    await cp(labModel, model, { recursive: true });
    await trainer.saveWeights(model);
    const saved = await scores();
    expect(saved).not.toEqual(start);
    await step();
    const next = await scores();
    expect(next).not.toEqual(saved);
    await trainer.loadState(state);
    expect(await scores()).toEqual(saved);
    await step();
    expect(await scores()).toEqual(next);
    await engine.close();

    const other = await loadEngine(engineOptions({ model }), vocabulary);
    expect((await (await other.trainer(options)).score(groups)).logprobs).toEqual(saved);
    await other.close();
  });

  it('trains LoRA factors alone', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const trainer = await engine.trainer({
      ...options,
      lora: { rank: 4, alpha: 8, targets: ['q', 'v', 'down'], seed: 1n },
    });
    const groups = [text(await tokenizer.encode('The answer is 466.'))];
    const losses: number[] = [];
    for (let i = 0; i < 5; i++) {
      losses.push((await trainer.accumulate(groups, { kind: 'likelihood' })).loss);
      await trainer.step(1e-2);
    }
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    await engine.close();
  });

  it('refuses to train while requests run, and beside another trainer', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    const trainer = await engine.trainer(options);
    await expect(engine.trainer(options)).rejects.toThrow('the engine has a trainer');
    const stop = new AbortController();
    const running = engine.submit({ ...request, ignoreEos: true }, () => {}, stop.signal);
    await until(() => engine.stats().running === 1);
    const refused = trainer.accumulate([text([1])], { kind: 'likelihood' });
    await expect(refused).rejects.toBeInstanceOf(EngineError);
    await expect(refused).rejects.toMatchObject({ code: 'invalid_request' });
    stop.abort();
    await running;
    await trainer.accumulate([text([1])], { kind: 'likelihood' });
    await trainer.close();
    await trainer.close();
    await expect(trainer.step(1)).rejects.toMatchObject({ code: 'unavailable' });
    const next = await engine.trainer(options);
    // Of calls made at once, each begins where the one before has ended.
    const both = [next.accumulate([text([1])], { kind: 'likelihood' }), next.step(1e-3)] as const;
    expect((await both[1]).gradientNorm).toBeGreaterThan(0);
    await both[0];
    await engine.close();
    await expect(next.step(1)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('names what is wrong with what it is given', async () => {
    const engine = await loadEngine(engineOptions(), vocabulary);
    await expect(engine.trainer({ ...options, beta1: 1.5 })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(engine.trainer({ ...options, microBatchTokens: 0 })).rejects.toThrow('micro-batch of 0');
    await expect(engine.trainer({ ...options, recompute: 'all' as 'layer' })).rejects.toThrow(
      'none, mlp or layer',
    );
    const trainer = await engine.trainer(options);
    const group = text([1, 2]);
    const wrong = (change: object) => trainer.score([{ ...group, ...change } as TrainGroup]);
    await expect(wrong({ prompt: [1] })).rejects.toThrow('prompt should be an Int32Array');
    await expect(wrong({ parallel: 1 })).rejects.toThrow('parallel should be a boolean');
    await expect(wrong({ trajectories: [1] })).rejects.toThrow('trajectories should be made of objects');
    await expect(wrong({ request: { ...request, prompt: [1] } })).rejects.toThrow('another prompt');
    await expect(wrong({ request })).rejects.toThrow(
      '0 marks of forced tokens; expected one for each of its 2',
    );
    await expect(trainer.accumulate([group], { kind: 'other' as 'likelihood' })).rejects.toThrow(
      'kind should be',
    );
    await expect(trainer.step(Number.NaN)).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(trainer.saveWeights(join(directory, 'absent'))).rejects.toMatchObject({
      code: 'invalid_request',
    });
    await expect(trainer.loadState(join(directory, 'absent'))).rejects.toMatchObject({
      code: 'invalid_checkpoint',
    });
    await engine.close();
    const int8 = await loadEngine(engineOptions({ weights: 'int8' }), vocabulary);
    await expect(int8.trainer(options)).rejects.toMatchObject({ code: 'invalid_request' });
    await int8.close();
  });
});
