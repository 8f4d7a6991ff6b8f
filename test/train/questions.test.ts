import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/config/paths.js';
import { loadEngine } from '../../src/engine/engine.js';
import { formatScore } from '../../src/parallel/score.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { writeRandomModel } from '../../src/train/init.js';
import { Prompts } from '../../src/train/prompts.js';
import { loadExamples, withTexts } from '../../src/train/questions.js';
import type { BaseSettings } from '../../src/train/settings.js';
import { lesson, Supervised } from '../../src/train/supervised.js';
import { labModel } from '../lab_model.js';
import { type DoubleTrainer, parallelText, TrainableEngine } from './double.js';
import { runSettings } from './settings.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-questions-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const tasks = { tasks: { families: ['products', 'primes'], difficulty: [1, 2], count: 30 } };

describe('examples', () => {
  it('are the same for the same seed, and others for another', async () => {
    const questions = async (seed: number, more = {}) =>
      (await loadExamples({ ...tasks, ...more }, seed)).map(({ question }) => question);
    expect(await questions(1)).toEqual(await questions(1));
    expect(await questions(1)).not.toEqual(await questions(2));
    expect(await questions(1, { limit: 5 })).toEqual((await questions(1)).slice(0, 5));
    const own = { tasks: { ...tasks.tasks, seed: 7 } };
    expect(await questions(1, own)).toEqual(await questions(2, own));
  });

  it('of a file are a random part of it where there is a limit, and in its order where there is none', async () => {
    const path = join(directory, 'numbers.jsonl');
    writeFileSync(
      path,
      Array.from({ length: 50 }, (_, i) => `{"question":"q${i}","answer":${i}}`).join('\n'),
    );
    const answers = async (limit?: number) =>
      (await loadExamples({ files: [{ path }], ...(limit === undefined ? {} : { limit }) }, 3)).map((one) =>
        Number(one.answer),
      );
    expect(await answers()).toEqual([...Array(50).keys()]);
    const some = await answers(10);
    expect(new Set(some).size).toBe(10);
    expect(Math.max(...some)).toBeGreaterThan(20);
  });

  it('are written out in the ways that are asked for, as often as they weigh', async () => {
    const examples = await loadExamples({ tasks: { ...tasks.tasks, count: 400 } }, 1);
    const written = withTexts(
      examples,
      [
        { kind: 'sequential', weight: 3, system: 'in one line' },
        { kind: 'parallel', weight: 1 },
      ],
      5,
    );
    const blocks = written.filter(({ response }) => response?.includes('<guideline>'));
    expect(blocks.length).toBeGreaterThan(70);
    expect(blocks.length).toBeLessThan(130);
    for (const { response, system } of written) {
      const parallel = response?.includes('<guideline>') ?? false;
      expect(system).toBe(parallel ? undefined : 'in one line');
      if (parallel) expect(formatScore(response ?? '')).toBe(0);
    }
    const given = [{ question: 'q', answer: 'a', response: 'r' }];
    expect(withTexts(given, [{ kind: 'parallel', weight: 1 }], 5)).toEqual(given);
  });
});

describe('a lesson', () => {
  it('is the tokens that a chat with the response has', async () => {
    const tokenizer = await Tokenizer.load(labModel);
    const prompts = new Prompts(tokenizer, 'be brief', undefined);
    const example = {
      question: 'What is 2?',
      answer: '2',
      response: parallelText('2').replaceAll('\n', '\n\n'),
    };
    const { prompt, response } = await lesson(example, prompts, true);
    const chat = await tokenizer.renderChat(
      [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'What is 2?' },
        { role: 'assistant', content: parallelText('2') },
      ],
      { addGenerationPrompt: false },
    );
    // the template writes a newline after the turn
    const newline = await tokenizer.encodePlain('\n');
    expect([...prompt, ...response, ...newline]).toEqual(chat);
  });

  it('is left out where it is too long', async () => {
    const { step } = await stage(['r', 'r'.repeat(200), 'r']);
    const { report, learned } = await step(0);
    expect(learned).toHaveLength(2);
    expect(report.metrics).toMatchObject({ updates: 1, epoch: 1 });
    expect(report.notes).toEqual(['1 of 3 examples are longer than max_length, and left out']);
  });

  it('makes no update where a whole step is too long, and no run where all are', async () => {
    // the order of the epoch puts some long one first, whatever it is
    const responses = ['r', 'r'.repeat(200), 's'.repeat(200), 't'.repeat(200)];
    const { step } = await stage(responses, { batch_size: 1 });
    const steps = [];
    for (const i of responses.keys()) steps.push(await step(i));
    expect(steps.map(({ learned }) => learned.length).toSorted()).toEqual([0, 0, 0, 1]);
    expect(steps.map(({ report }) => report.metrics.updates)).toEqual(
      steps.map(({ learned }) => learned.length),
    );
    const hopeless = await stage(responses.slice(1), { batch_size: 1 });
    await hopeless.step(0);
    await hopeless.step(1);
    await expect(hopeless.step(2)).rejects.toThrow(
      'base: every example is longer than max_length, 50 tokens',
    );
    // also where it was gone on with after the first step
    const { stage: resumed, step: next } = await stage(responses.slice(1), { batch_size: 1 });
    resumed.restore({ fitting: 1 });
    expect((await next(2)).learned).toEqual([]);
  });

  it('needs a response', async () => {
    await expect(stage([undefined])).rejects.toThrow('no response to learn from: "why"');
  });

  /** A stage base of examples with these responses, none longer than 50 tokens. */
  async function stage(responses: readonly (string | undefined)[], more = {}) {
    const tokenizer = await Tokenizer.load(labModel);
    const engine = new TrainableEngine(tokenizer, () => ({ text: '' }));
    const trainer: DoubleTrainer = await engine.trainer();
    const base = { batch_size: 3, max_length: 50, ...more };
    const made = new Supervised('base', runSettings({ stages: { base } }).stages.base as BaseSettings, {
      workplace: { engine, tokenizer, trainer },
      examples: responses.map((response) => ({ question: 'why', answer: 'a', response })),
      prompts: new Prompts(tokenizer, undefined, undefined),
      seed: 1,
    });
    return {
      stage: made,
      async step(i: number) {
        const before = trainer.accumulated.length;
        const report = await made.step(i);
        return { report, learned: trainer.accumulated.slice(before).flatMap(({ groups }) => groups) };
      },
    };
  }

  it('keeps a control token that a response spells as text', async () => {
    const tokenizer = await Tokenizer.load(labModel);
    const tokens = await tokenizer.encodeResponse('a<|im_end|>b');
    expect(tokens).not.toContain(tokenizer.vocabulary.turnEnd);
    expect(tokenizer.decode(tokens)).toBe('a<|im_end|>b');
  });
});

describe('a random model', () => {
  const { init } = runSettings({
    model: undefined,
    init: {
      tokenizer: join(packageRoot, 'test/fixtures/random-tied'),
      hidden_size: 32,
      intermediate_size: 48,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 16,
    },
    stages: { base: {} },
  });

  it.each([true, false])(
    'can be loaded (tied: %s), and follows from its seed',
    async (tie_word_embeddings) => {
      if (init === undefined) throw new Error('no init');
      const weights = [];
      for (const seed of [1, 1, 2]) {
        const folder = mkdtempSync(join(directory, 'random-'));
        await writeRandomModel({ ...init, tie_word_embeddings }, seed, folder);
        weights.push(readFileSync(join(folder, 'model.safetensors')));
        if (weights.length > 1) continue;
        const { vocabulary } = await Tokenizer.load(folder);
        const engine = await loadEngine(
          {
            model: folder,
            device: 'cpu',
            threads: 1,
            kvMemoryBytes: 2 ** 20,
            weights: 'bf16',
            isa: 'auto',
            maxBatchTokens: 64,
            maxRunning: 4,
            maxWaiting: 4,
            prefixCache: false,
          },
          vocabulary,
        );
        expect(engine.info.vocabSize).toBe(384);
        await engine.close();
      }
      expect(weights[0]?.equals(weights[1] as Buffer)).toBe(true);
      expect(weights[0]?.equals(weights[2] as Buffer)).toBe(false);
    },
  );
});
