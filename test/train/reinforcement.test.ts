import { beforeAll, describe, expect, it } from 'vitest';
import type { TrainGroup } from '../../src/engine/trainer_types.js';
import type { EngineEvent } from '../../src/engine/types.js';
import { formatScore } from '../../src/parallel/score.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { dapo, papo } from '../../src/train/methods.js';
import { Prompts } from '../../src/train/prompts.js';
import { Reinforcement } from '../../src/train/reinforcement.js';
import type { Scorer } from '../../src/train/scoring.js';
import type { PapoSettings, ZeroSettings } from '../../src/train/settings.js';
import { labModel } from '../lab_model.js';
import { parallelText, TrainableEngine, type Writer } from './double.js';
import { runSettings } from './settings.js';

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await Tokenizer.load(labModel);
});

const examples = Array.from({ length: 12 }, (_, i) => ({ question: `What is ${i}?`, answer: String(i) }));

const score: Scorer = async ({ answer }, { text }) => {
  const correct = text.includes(`\\boxed{${answer}}`);
  return { reward: correct ? 1 : -1, correct, format: formatScore(text) };
};

/** Right answers in a block; wrong ones too. */
const blocks: Writer = (question, right) => ({
  text: parallelText(right ? (/\d+/.exec(question)?.[0] ?? '') : 'none'),
});

function open(method: 'zero' | 'papo', settings: object, writer = blocks, skill = 0.5) {
  const run = runSettings({
    stages: { [method]: { steps: 5, prompts: 3, samples: 4, sampling: { max_tokens: 200 }, ...settings } },
  });
  const engine = new TrainableEngine(tokenizer, writer, skill);
  const own = run.stages[method] as ZeroSettings | PapoSettings;
  const chosen = method === 'zero' ? dapo(own as ZeroSettings) : papo(own as PapoSettings, run.parallel);
  const start = async () => {
    const trainer = await engine.trainer();
    const workplace = { engine, tokenizer, trainer };
    const prompts = new Prompts(tokenizer, undefined, undefined);
    return new Reinforcement(chosen, own, { workplace, examples, prompts, score, seed: 1, traces: 1 });
  };
  return { engine, start };
}

const trajectories = (groups: TrainGroup[]) => groups.flatMap((group) => group.trajectories);
describe('papo', () => {
  it('makes one update of a whole batch, of weights advantage / tokens', async () => {
    const { engine, start } = open('papo', { lr: 0.01 });
    const stage = await start();
    const { metrics, traces } = await stage.step(0);
    const [trainer] = engine.trainers;
    expect(engine.requests).toHaveLength(3);
    expect(engine.requests.every((request) => request.parallel?.onInvalid === 'stop')).toBe(true);
    expect(engine.requests[0]?.sampling.branchRepetitionPenalty).toBe(1.02);
    expect(trainer?.accumulated).toHaveLength(1);
    const [{ groups, loss } = { groups: [], loss: undefined }] = trainer?.accumulated ?? [];
    expect(loss).toEqual({ kind: 'likelihood' });
    expect(groups).toHaveLength(3);
    const tokens = trajectories(groups).reduce((sum, one) => sum + one.tokens.length, 0);
    const rewards = groups.map((group) =>
      group.trajectories.map(({ weights, choice }) => ({ weight: (weights[0] ?? 0) * tokens, choice })),
    );
    // the advantages of each group add up to nothing
    for (const group of rewards) expect(group.reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(0, 4);
    expect(trainer?.rates).toEqual([0.01]);
    expect(metrics).toMatchObject({
      mismatch: 0,
      groups: 3,
      updates: 1,
      lr: 0.01,
      valid: 1,
      parallel: 1,
      branches: 2,
    });
    expect(metrics.accuracy).toBeCloseTo(((metrics.reward ?? 0) + 1) / 2, 12);
    expect(traces).toHaveLength(1);
  });

  it('leaves out invalid structure, but not what the limit cut off', async () => {
    const writer: Writer = (question, right, luck) => {
      if (luck < 0.2) return { ...blocks(question, true, luck), reason: 'invalid_structure' };
      if (luck > 0.8) return { text: '<guideline>\n<plan>1: cut', reason: 'length' };
      if (luck > 0.7) return { text: `no block \\boxed{none}` };
      return blocks(question, right, luck);
    };
    const { engine, start } = open('papo', { samples: 32 }, writer);
    const { metrics } = await (await start()).step(0);
    const groups = engine.trainers[0]?.accumulated[0]?.groups ?? [];
    const texts = trajectories(groups).map(({ tokens }) => tokenizer.decode([...tokens]));
    expect(texts.some((text) => text.startsWith('<guideline>\n<plan>1: cut'))).toBe(true);
    expect(texts.some((text) => text.includes('no block'))).toBe(false);
    expect(metrics.filtered).toBeGreaterThan(0.15);
    expect(trajectories(groups).length).toBe(Math.round(96 * (1 - (metrics.filtered ?? 0))));
  });

  it('takes tokens that the engine forced out of the loss, or learns from them as from text', async () => {
    for (const forcedToo of [false, true]) {
      const { engine, start } = open('papo', { loss_on_forced_tokens: forcedToo });
      const script = engine.script;
      engine.script = async function* (request, signal) {
        for await (const events of script(request, signal))
          yield events.flatMap((event): EngineEvent[] => {
            if (event.type !== 'delta') return [event];
            const forced = { ...event, forced: true, text: '', tokens: [5, 6], policyLogprobs: [0, 0] };
            return [event, forced];
          });
      };
      await (await start()).step(0);
      const groups = engine.trainers[0]?.accumulated[0]?.groups ?? [];
      const read = groups.filter(({ request }) => request === undefined);
      const drawn = groups.filter(({ request }) => request !== undefined);
      expect(drawn).toHaveLength(3);
      expect(read).toHaveLength(forcedToo ? 3 : 0);
      for (const { weights } of trajectories(drawn)) {
        expect([...weights.slice(-2)]).toEqual([0, 0]);
        expect(weights.slice(0, -2)).not.toContain(0);
      }
      for (const [i, { weights, oldLogprobs }] of trajectories(read).entries()) {
        expect(oldLogprobs).toBeUndefined();
        expect(weights.slice(0, -2).every((weight) => weight === 0)).toBe(true);
        expect(weights.at(-1)).toBe(trajectories(drawn)[i]?.weights[0]);
      }
      expect(read.every(({ parallel }) => parallel)).toBe(true);
    }
  });
});

it('of groups without a difference nothing but the log-probabilities is computed', async () => {
  const certain: Writer = (question, right, luck) => blocks(question, right || !question.includes('7'), luck);
  const { engine, start } = open('papo', { prompts: 12, samples: 6 }, certain, 0.4);
  const stage = await start();
  const [trainer] = engine.trainers;
  const { metrics } = await stage.step(0);
  expect(metrics.uniform_groups).toBe(11);
  expect(trainer?.accumulated[0]?.groups).toHaveLength(1);
  expect(trainer?.scored.map((groups) => groups.length)).toEqual([11]);
  // they count in the mean over tokens
  const tokens = metrics.rollout_tokens ?? 0;
  const [first] = trajectories(trainer?.accumulated[0]?.groups ?? []);
  expect(Math.abs(first?.weights[0] ?? 0) * tokens).toBeGreaterThan(0.3);
  if (trainer) trainer.error = 1e-7;
  await expect(stage.step(1)).rejects.toThrow(/differ from those of sampling/);
});

describe('zero', () => {
  it('compares all log-probabilities, then makes many updates against those stored', async () => {
    const { engine, start } = open('zero', { updates: 3, lr: 0.3, schedule: { warmup_steps: 0 } });
    const { metrics, phases } = await (await start()).step(0);
    const trainer = engine.trainers[0];
    expect(trainer?.accumulated).toHaveLength(3);
    expect(trainer?.accumulated[0]?.loss).toEqual({ kind: 'clipped', low: 0.2, high: 0.28, dual: 10 });
    expect(engine.requests.every((request) => request.parallel === undefined)).toBe(true);
    expect(trainer?.rates).toEqual([0.3, 0.3, 0.3]);
    expect(metrics.mismatch).toBe(0);
    expect(metrics.drift).toBeGreaterThan(0);
    expect(phases).toMatchObject({ forward: 4, backward: 6, update: 9 });
    // an update's own tokens are its mean
    for (const { groups } of trainer?.accumulated ?? []) expect(groups).toHaveLength(1);
  });

  it('drops groups without a difference and samples others', async () => {
    const { engine, start } = open('zero', { samples: 2, updates: 1 });
    const stage = await start();
    const { metrics } = await stage.step(0);
    const groups = engine.trainers[0]?.accumulated[0]?.groups ?? [];
    expect(groups).toHaveLength(3);
    expect(metrics.groups).toBe(3 + (metrics.uniform_groups ?? 0));
    expect(metrics.uniform_groups).toBeGreaterThan(0);
    for (const group of groups) {
      const signs = group.trajectories.map(({ weights }) => Math.sign(weights[0] ?? 0));
      expect(signs.toSorted()).toEqual([-1, 1]);
    }
    expect(stage.state().place).toBe(metrics.groups);
  });

  it('updates with fewer groups where the limit comes first, and says so', async () => {
    const { start } = open('zero', { samples: 2, updates: 1, dynamic_sampling: { limit: 1 } });
    const { metrics, notes } = await (await start()).step(0);
    expect(metrics.groups).toBe(3);
    expect(notes.join()).toMatch(/of 3 groups: the others of 3 had equal scores/);
  });

  it('is told of a gradient that is not finite', async () => {
    const { engine, start } = open('zero', { updates: 1 });
    const stage = await start();
    const [trainer] = engine.trainers;
    if (trainer) trainer.scale = Number.NaN;
    const { metrics, notes } = await stage.step(0);
    expect(metrics).toMatchObject({ updates: 0, skipped_updates: 1 });
    expect(metrics).not.toHaveProperty('gradient_norm');
    expect(notes).toEqual(['1 of 1 updates left out: the gradient is not finite']);
  });
});

it('compares what is dropped, too, and where there is no update', async () => {
  const invalid: Writer = (question, right, luck) =>
    luck < 0.3 ? { text: 'nothing', reason: 'invalid_structure' } : blocks(question, right, luck);
  for (const [method, writer, skill] of [
    ['papo', invalid, 0.5],
    ['papo', blocks, 1.1],
    ['zero', blocks, 0.9],
  ] as const) {
    const { engine, start } = open(
      method,
      { samples: 8, ...(method === 'zero' ? { updates: 1 } : {}) },
      writer,
      skill,
    );
    const { metrics } = await (await start()).step(0);
    const [trainer] = engine.trainers;
    const passes = [...(trainer?.scored ?? []), ...(trainer?.accumulated.map(({ groups }) => groups) ?? [])];
    expect(trajectories(passes.flat())).toHaveLength(8 * (metrics.groups ?? 0));
    expect(metrics.mismatch).toBe(0);
  }
});

describe('without any signal', () => {
  it('there is no update, and the stage ends where all is right', async () => {
    const { engine, start } = open('papo', { max_uniform_steps: 2 }, blocks, 1.1);
    const stage = await start();
    const first = await stage.step(0);
    expect(first.notes.join()).toMatch(
      /no signal: the responses to each question scored the same \(mean reward 1.000\)/,
    );
    expect(first.finished).toBeUndefined();
    expect((await stage.step(1)).finished).toMatch(/every response of 2 steps was right/);
    expect(engine.trainers[0]?.rates).toEqual([]);
  });

  it('fails where all is wrong', async () => {
    const stage = await open('zero', { max_uniform_steps: 2 }, blocks, -1).start();
    await stage.step(0);
    await expect(stage.step(1)).rejects.toThrow(
      /^zero: 2 steps in a row without any signal: .*mean reward -1.000.* of the 240 responses of them all 0 were right/,
    );
  });

  it.each([
    ['wrong, then right', [-1, -1, 1.1]],
    ['right, then wrong', [1.1, 1.1, -1]],
  ])('judges by all steps of the row: %s', async (_, skills) => {
    const right = skills.filter((skill) => skill > 1).length;
    const { engine, start } = open('papo', { max_uniform_steps: 3 });
    // each step by a process of its own
    let state = (await start()).state();
    for (const [step, skill] of skills.entries()) {
      const stage = await start();
      stage.restore(JSON.parse(JSON.stringify(state)));
      engine.skill = skill;
      const end = stage.step(step);
      if (step < 2) expect((await end).finished).toBeUndefined();
      else
        await expect(end).rejects.toThrow(
          `in the last one the responses to each question scored the same (mean reward ${skill > 1 ? '1.000' : '-1.000'}); of the 36 responses of them all ${12 * right} were right;`,
        );
      state = stage.state();
    }
  });

  it('begins to count anew after a signal, or a state that has no count', async () => {
    const { engine, start } = open('papo', { max_uniform_steps: 2 });
    const stage = await start();
    const finished = [];
    for (const [step, skill] of [-1, 0.5, 1.1, 1.1].entries()) {
      engine.skill = skill;
      finished.push((await stage.step(step)).finished !== undefined);
    }
    expect(finished).toEqual([false, false, false, true]);
    stage.restore({ place: 6, yield: 1, uniform: 9 });
    expect((await stage.step(4)).finished).toBeUndefined();
    expect((await stage.step(5)).finished).toMatch(/every response of 2 steps was right/);
  });

  it('says that all responses were filtered out', async () => {
    const writer: Writer = () => ({ text: 'nothing', reason: 'invalid_structure' });
    const stage = await open('papo', { max_uniform_steps: 1 }, writer).start();
    await expect(stage.step(0)).rejects.toThrow(/every response was filtered out/);
  });
});

describe('exactness', () => {
  it.each([
    ['papo', {}],
    ['zero', { updates: 1 }],
    ['zero', { updates: 3 }],
  ] as const)(
    '%s %j: a difference in one bit ends the run, before the weights change',
    async (method, settings) => {
      const { engine, start } = open(method, settings);
      const stage = await start();
      const [trainer] = engine.trainers;
      if (trainer) trainer.error = 1e-7;
      await expect(stage.step(4)).rejects.toThrow(
        new RegExp(
          `^${method}, step 5: log-probabilities of training differ from those of sampling by up to`,
        ),
      );
      expect(trainer?.rates).toEqual([]);
    },
  );
});

it('a step depends on the state alone', async () => {
  const one = open('zero', { samples: 3, updates: 2 });
  const stage = await one.start();
  const reports = [];
  for (let step = 0; step < 3; step++) reports.push((await stage.step(step)).metrics);
  const again = open('zero', { samples: 3, updates: 2 });
  const first = await again.start();
  expect((await first.step(0)).metrics).toEqual(reports[0]);
  const second = await again.start();
  second.restore(JSON.parse(JSON.stringify(first.state())));
  // the weights and moments are the trainer's to keep
  await again.engine.trainers[1]?.step(0);
  expect(second.state()).toEqual(first.state());
});

it('a failing engine ends the step, and nothing runs on', async () => {
  const { engine, start } = open('papo', {});
  engine.fails = (request) => request.prompt.length > 0;
  await expect((await start()).step(0)).rejects.toThrow('the double fails');
  expect(engine.running).toBe(0);
});
