/** The true engine under the loop: what a run of the lab model promises. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadEngine } from '../../src/engine/engine.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { Lines } from '../../src/train/log/lines.js';
import { RunLog } from '../../src/train/log/run_log.js';
import type { LoadModel } from '../../src/train/open_stage.js';
import { openOutput, train } from '../../src/train/run.js';
import { labModel } from '../lab_model.js';
import { runSettings } from './settings.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-train-engine-'));
  // there is always something to learn
  writeFileSync(join(directory, 'reward.mjs'), 'export default ({ tokens }) => tokens / 100;');
});
afterAll(() => rmSync(directory, { recursive: true }));

const load: LoadModel = async (folder) => {
  const tokenizer = await Tokenizer.load(folder);
  const options = {
    model: folder,
    device: 'cpu' as const,
    threads: 2,
    kvMemoryBytes: 2 ** 25,
    weights: 'bf16' as const,
    isa: 'auto' as const,
    maxBatchTokens: 256,
    maxRunning: 64,
    maxWaiting: 64,
    prefixCache: true,
  };
  return { engine: await loadEngine(options, tokenizer.vocabulary), tokenizer };
};

function settings(output: string) {
  const learning = {
    lr: 1e-4,
    schedule: { warmup_steps: 0 },
    prompts: 2,
    samples: 4,
    steps: 2,
    sampling: { temperature: 1.5, max_tokens: 200 },
    reward: join(directory, 'reward.mjs'),
  };
  return runSettings({
    model: labModel,
    output,
    data: { tasks: { families: ['products'], count: 20 } },
    checkpoints: { every: 1 },
    stages: {
      zero: { ...learning, updates: 2 },
      papo: { ...learning, from: 'zero', filter: 'none', loss_on_forced_tokens: true },
    },
  });
}

/** Steps that a run may make before it is interrupted. */
async function run(output: string, resume: boolean, steps = 100): Promise<boolean> {
  const all = settings(output);
  const interrupt = new AbortController();
  let left = steps;
  const lines = new Lines((line) => {
    if (/^\w+ \d+\/\d+: /.test(line) && --left === 0) interrupt.abort();
  });
  await openOutput(all, resume);
  try {
    await train(all, undefined, { signal: interrupt.signal, log: new RunLog(output, all, lines), load });
    return true;
  } catch (error) {
    expect((error as Error).name).toBe('Interrupted');
    return false;
  }
}

const records = (output: string) =>
  readFileSync(join(output, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line): Record<string, number | string> => JSON.parse(line));

describe('a run of the lab model', () => {
  it('agrees with its rollouts in every bit, and is the same when it is resumed', async () => {
    const [whole, parts] = ['whole', 'parts'].map((name) => join(directory, name)) as [string, string];
    expect(await run(whole, false)).toBe(true);
    const updated = records(whole).filter(({ updates }) => Number(updates) > 0);
    expect(new Set(updated.map(({ stage }) => stage))).toEqual(new Set(['zero', 'papo']));
    expect(updated.map(({ mismatch }) => mismatch)).toEqual(updated.map(() => 0));
    for (const { loss, gradient_norm: norm, entropy } of updated)
      for (const value of [loss, norm, entropy]) expect(value).not.toBe(0);

    for (let life = 0; !(await run(parts, life > 0, 1)); life++) expect(life).toBeLessThan(10);
    const comparable = (output: string) =>
      records(output).map((record) =>
        Object.fromEntries(Object.entries(record).filter(([key]) => !/^time$|_s$|^other_share$/.test(key))),
      );
    expect(comparable(parts)).toEqual(comparable(whole));
    const weights = (output: string) => readFileSync(join(output, 'papo', 'model', 'model.safetensors'));
    expect(weights(parts).equals(weights(whole))).toBe(true);
    expect(weights(whole).equals(readFileSync(join(labModel, 'model.safetensors')))).toBe(false);
  });
});
