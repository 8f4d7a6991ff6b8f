import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/config/paths.js';
import { SettingsError } from '../../src/config/resolve.js';
import { readTrainSettings } from '../../src/train/settings_file.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'npr-train-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const data = { tasks: { families: ['products'] } };
const least = { model: 'm', output: 'o', data, stages: { papo: {} } };

function read(content: unknown, overrides = {}) {
  const path = join(directory, 'run.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return readTrainSettings(path, overrides);
}

it("takes the paper's values where a stage has none", () => {
  const { stages, parallel } = read({ ...least, stages: { zero: {}, beta: {}, papo: { lr: 1e-5 } } });
  expect(stages.zero).toMatchObject({
    lr: 1e-6,
    prompts: 32,
    samples: 16,
    updates: 32,
    schedule: { kind: 'constant', warmup_steps: 10 },
    clip: { low: 0.2, high: 0.28, dual: 10 },
    overlong: { buffer: 10, factor: 1 },
    dynamic_sampling: { enabled: true },
    optimizer: { weight_decay: 0.1, clip_norm: 1 },
  });
  expect(stages.beta).toMatchObject({
    lr: 1e-6,
    schedule: { kind: 'cosine', warmup_steps: 0.05, final_lr: 5e-7 },
    optimizer: { beta1: 0.9, beta2: 0.95, weight_decay: 0.1 },
    tries: 8,
    epochs: 1,
    max_length: 32768,
  });
  expect(stages.papo).toMatchObject({
    lr: 1e-5,
    prompts: 16,
    samples: 16,
    sampling: { temperature: 1, top_p: 1, max_tokens: 30000 },
    dynamic_sampling: { enabled: false },
  });
  expect(stages.papo).not.toHaveProperty('overlong');
  expect(parallel).toMatchObject({
    max_branches: 5,
    max_depth: 5,
    on_invalid: 'stop',
    branch_repetition_penalty: 1.02,
  });
  expect(read({ ...least, validation: { data } }).validation).toMatchObject({
    samples: 8,
    top_p: 0.7,
    temperature: 1,
  });
});

it('keeps the KV cache small where no size is given: training needs the rest', () => {
  expect(read(least).engine.kv_memory).toBe(4 * 2 ** 30);
});

it('names paths relative to its file, and reads sizes', () => {
  const settings = read({
    ...least,
    data: { files: [{ path: 'a.jsonl' }] },
    engine: { kv_memory: '2GiB' },
    stages: { zero: { from: 'other' }, papo: { from: 'zero', reward: './reward.ts' } },
  });
  expect(settings).toMatchObject({
    model: join(directory, 'm'),
    output: join(directory, 'o'),
    data: { files: [{ path: join(directory, 'a.jsonl') }] },
    engine: { kv_memory: 2 ** 31 },
    stages: {
      zero: { from: join(directory, 'other') },
      papo: { from: 'zero', reward: join(directory, 'reward.ts') },
    },
  });
});

it('is overridden from the command line', () => {
  expect(read(least, { output: 'there', seed: 5 })).toMatchObject({ output: resolve('there'), seed: 5 });
  expect(read(least)).toMatchObject({ output: join(directory, 'o'), seed: 0 });
});

it('lets a stage say otherwise than the run, of validation and checkpoints', () => {
  const { stages } = read({
    ...least,
    validation: { data },
    stages: { papo: { validation: { every: 3 }, checkpoints: { keep: 1 } } },
  });
  expect(stages.papo?.validation).toEqual({ every: 3 });
  expect(stages.papo?.checkpoints).toEqual({ keep: 1 });
});

describe('refuses', () => {
  it.each<[unknown, RegExp]>([
    ['{"model": ', /settings file .*run\.json: .*JSON/],
    [[], /the file: expected an object, got an empty array/],
    [{ ...least, modl: 1 }, /run\.json: unknown setting modl \(did you mean 'model'\?\)$/],
    [
      { ...least, stages: { zero: { sampling: { temprature: 1 } } } },
      /unknown setting stages\.zero\.sampling\.temprature \(did you mean 'temperature'\?\)$/,
    ],
    [
      { ...least, stages: { zero: { loss_on_forced_tokens: true } } },
      /unknown setting stages\.zero\.loss_on_forced_tokens$/,
    ],
    [{ ...least, output: undefined }, /output is required$/],
    [{ ...least, model: undefined }, /expected either model, .*, or init/],
    [{ ...least, init: { tokenizer: 't' } }, /expected either model, .*, or init/],
    [{ ...least, stages: {} }, /stages: expected at least one of base, zero, beta, papo$/],
    [
      { ...least, stages: { papo: { lr: '1e-7' } } },
      /stages\.papo\.lr: expected a number above 0 and at most 1, got "1e-7"$/,
    ],
    [
      { ...least, stages: { papo: { filter: 'all' } } },
      /filter: expected "none", "structure" or "format", got "all"$/,
    ],
    [{ ...least, engine: { kv_memory: '1XB' } }, /engine\.kv_memory: expected a size .*, got "1XB"$/],
    [{ ...least, data: {} }, /data: expected either files or tasks$/],
    [{ ...least, data: { ...data, files: [{ path: 'x' }] } }, /data: expected either files or tasks$/],
    [{ ...least, data: { files: [] } }, /data\.files: expected a non-empty array/],
    [{ ...least, data: { tasks: { families: ['a'], difficulty: [3, 1] } } }, /easiest first, got \[3, 1\]$/],
    [
      { ...least, data: { tasks: { families: ['a'], difficulties: { a: [3, 1] } } } },
      /data.tasks.difficulties.a: expected the easiest first, got \[3, 1\]$/,
    ],
    [{ ...least, data: undefined }, /stages\.papo: has no data; give data to the run or to the stage$/],
    [{ ...least, stages: { papo: { validation: { every: 3 } } } }, /stages\.papo\.validation: has no data/],
    [
      { ...least, checkpoints: { result: 'best' } },
      /stages\.papo: checkpoints\.result is best, which needs a validation/,
    ],
    [{ ...least, seed: -1 }, /seed: expected an integer from 0/],
    [
      { ...least, stages: { base: { lr: 1e-5 } } },
      /stages\.base: schedule\.final_lr is 0\.00003, more than lr, which is 0\.00001;/,
    ],
    [
      { ...least, stages: { zero: { clip: { low: 1 } } } },
      /stages\.zero\.clip\.low: expected a number above 0 and below 1, got 1$/,
    ],
    [
      { ...least, stages: { zero: { clip: { high: 0.5, dual: 1.5 } } } },
      /stages\.zero: clip\.dual is 1\.5; expected more than 1 \+ clip\.high, and that is 0\.5$/,
    ],
  ])('%j', (content, message) => {
    expect(() => read(content)).toThrow(SettingsError);
    expect(() => read(content)).toThrow(message);
  });

  it('a file that is not there', () => {
    expect(() => readTrainSettings('/no/such.json')).toThrow(/settings file \/no\/such\.json: .*ENOENT/);
  });
});

it('takes a final_lr that no cosine ends at, and one equal to lr', () => {
  const schedules = [
    { kind: 'constant', final_lr: 1 },
    { kind: 'cosine', final_lr: 1e-5 },
  ];
  for (const schedule of schedules)
    expect(read({ ...least, stages: { papo: { lr: 1e-5, schedule } } }).stages.papo?.schedule).toMatchObject(
      schedule,
    );
});

describe('the ready-made files', () => {
  const folder = join(packageRoot, 'config', 'train');
  it.each(['zero', 'beta', 'papo'] as const)("%s.json writes the paper's values out", (name) => {
    const { stages } = readTrainSettings(join(folder, `${name}.json`));
    expect(Object.keys(stages)).toEqual([name]);
    const { teacher, teacher_system, micro_batch_tokens, recompute, ...stage } = {
      ...stages[name],
    } as Record<string, unknown>;
    const {
      micro_batch_tokens: _,
      recompute: __,
      ...defaults
    } = read({ ...least, stages: { [name]: {} } }).stages[name] as object as Record<string, unknown>;
    expect(stage).toEqual(defaults);
  });

  it('of tiny runs are read', () => {
    const tiny = join(folder, 'tiny');
    for (const name of readdirSync(tiny)) {
      const { init, model } = readTrainSettings(join(tiny, name));
      expect(init ?? model, name).toBeDefined();
    }
  });
});
