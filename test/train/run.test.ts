import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { Lines } from '../../src/train/log/lines.js';
import { RunLog } from '../../src/train/log/run_log.js';
import { openOutput, train } from '../../src/train/run.js';
import type { StageName } from '../../src/train/settings.js';
import { labModel } from '../lab_model.js';
import { parallelText, TrainableEngine, type Writer } from './double.js';
import { runSettings } from './settings.js';

let directory: string;
let tokenizer: Tokenizer;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'npr-run-'));
  tokenizer = await Tokenizer.load(labModel);
});
afterAll(() => rmSync(directory, { recursive: true }));

const writer: Writer = (question, right) => ({
  text: parallelText(right ? (/\d+/.exec(question)?.[0] ?? '') : 'none'),
});

function questions(from: number, to: number): string {
  const path = join(directory, `${from}-${to}.jsonl`);
  const lines = Array.from({ length: to - from }, (_, i) => {
    const answer = String(from + i);
    return JSON.stringify({ question: `What is ${answer}?`, answer, response: parallelText(answer) });
  });
  writeFileSync(path, lines.join('\n'));
  return path;
}

function settings(output: string, more: object = {}) {
  const reinforced = {
    lr: 0.05,
    steps: 5,
    prompts: 3,
    samples: 3,
    sampling: { max_tokens: 200 },
    schedule: { warmup_steps: 0 },
  };
  return runSettings({
    model: labModel,
    output,
    data: { files: [{ path: questions(0, 20) }] },
    validation: { data: { files: [{ path: questions(18, 24) }] }, every: 2, samples: 2, max_tokens: 200 },
    checkpoints: { every: 2, keep: 1 },
    stages: {
      base: { lr: 0.05, batch_size: 4, epochs: 1.4 },
      zero: { ...reinforced, updates: 2 },
      beta: { lr: 0.05, batch_size: 4, max_tokens: 200 },
      papo: reinforced,
    },
    ...more,
  });
}

/** As a process would: what an earlier one loaded is gone. Fails or stops where a test wants it to. */
class Process {
  readonly lines: string[] = [];
  readonly engines: TrainableEngine[] = [];
  readonly interrupt = new AbortController();
  /** Called before each write to the disk and each update: throws to die there. */
  alive: (what: string) => void = () => {};

  async run(run: ReturnType<typeof settings>, resume: boolean, stage?: StageName): Promise<void> {
    await openOutput(run, resume);
    const log = new RunLog(run.output, run, new Lines((line) => this.#line(line)));
    const load = async (folder: string) => {
      const weights = readFileSync(join(folder, 'model.safetensors'));
      const skill = weights.length < 100 ? JSON.parse(weights.toString()).skill : 0.5;
      const engine = new TrainableEngine(tokenizer, writer, skill);
      this.engines.push(engine);
      const trainer = engine.trainer.bind(engine);
      engine.trainer = async (options) => {
        const made: object = await trainer(options);
        return new Proxy(made, {
          get: (target, name) => {
            const member = Reflect.get(target, name);
            if (typeof member !== 'function') return member;
            return async (...given: unknown[]) => {
              this.alive(`${String(name)} begins`);
              const result = await member.apply(target, given);
              this.alive(`${String(name)} ends`);
              return result;
            };
          },
        }) as never;
      };
      return { engine, tokenizer };
    };
    await train(run, stage, { signal: this.interrupt.signal, log, load });
  }

  #line(line: string): void {
    this.lines.push(line);
    this.alive(line);
  }
}

/** metrics.jsonl without what depends on the clock. */
function metrics(output: string) {
  return readFileSync(join(output, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const entries = Object.entries(JSON.parse(line));
      return Object.fromEntries(entries.filter(([key]) => !/^time$|_s$|^other_share$/.test(key)));
    });
}

const skillOf = (output: string, stage: string) =>
  readFileSync(join(output, stage, 'model', 'model.safetensors'), 'utf8');

const STAGES = ['base', 'zero', 'beta', 'papo'] as const;

describe('a run', () => {
  let whole: string;
  const process = new Process();
  beforeAll(async () => {
    whole = join(directory, 'whole');
    await process.run(settings(whole), false);
  });

  it('goes through all stages, each from where it should', () => {
    for (const stage of STAGES) {
      expect(existsSync(join(whole, stage, 'model', 'config.json')), stage).toBe(true);
      expect(existsSync(join(whole, stage, 'model', 'loop.json')), stage).toBe(false);
    }
    // base, zero, the teacher, beta, papo
    expect(process.engines).toHaveLength(5);
    expect(process.engines.every(({ closed, running }) => closed && running === 0)).toBe(true);
    expect(process.engines.map(({ trainers }) => trainers.map(({ closed }) => closed))).toEqual([
      [true],
      [true],
      [],
      [true],
      [true],
    ]);
  });

  it('keeps what it validates on out of what it learns from', () => {
    expect(process.lines).toContain('zero: 2 of 20 questions are held out');
    const asked = process.engines.flatMap(({ trainers, requests }) => (trainers.length > 0 ? requests : []));
    const learned = asked.filter((request) => request.policyLogprobs);
    expect(learned.length).toBeGreaterThan(0);
    for (const request of learned)
      expect(tokenizer.decode(request.prompt)).not.toMatch(/What is (18|19|2\d)\?/);
  });

  it('keeps what a later stage validates on out, too', async () => {
    const output = join(directory, 'later');
    const run = settings(output, { validation: undefined });
    Object.assign(run.stages.base ?? {}, { validation: { data: { files: [{ path: questions(0, 3) }] } } });
    Object.assign(run.stages.papo ?? {}, { validation: { data: { files: [{ path: questions(16, 24) }] } } });
    const process = new Process();
    await process.run(run, false, 'base');
    await process.run(run, true, 'zero');
    for (const stage of ['base', 'zero'])
      expect(process.lines).toContain(`${stage}: 7 of 20 questions are held out`);
    const validated = metrics(output).filter(({ kind }) => kind === 'validation');
    expect(new Set(validated.map(({ stage }) => stage))).toEqual(new Set(['base']));
  });

  it('validates at the start, as often as it should, and at the end', () => {
    const steps = metrics(whole)
      .filter(({ stage, kind }) => stage === 'papo' && kind === 'validation')
      .map(({ step }) => step);
    expect(steps).toEqual([0, 2, 4, 5]);
    // 18 lessons 1.4 times, 4 a step, the last step of 2
    expect(metrics(whole).filter(({ stage, kind }) => stage === 'base' && kind === 'train')).toHaveLength(7);
  });

  it('learns in beta from what was kept, as the engine would lay it out', () => {
    const traces = readFileSync(join(whole, 'beta', 'traces.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(traces.length).toBeGreaterThan(5);
    for (const line of traces) expect(JSON.parse(line).response).toBe(parallelText(JSON.parse(line).answer));
    const groups = process.engines[3]?.trainers[0]?.accumulated.flatMap(({ groups }) => groups) ?? [];
    expect(groups).toHaveLength(traces.length);
    for (const { parallel, request, trajectories } of groups) {
      expect([parallel, request]).toEqual([true, undefined]);
      const [{ weights, tokens } = { weights: [], tokens: [] }] = trajectories;
      expect(weights.every((weight) => weight > 0)).toBe(true);
      expect(tokens.at(-1)).toBe(tokenizer.vocabulary.turnEnd);
    }
  });

  it('keeps the last checkpoint and the best one', () => {
    for (const stage of STAGES) {
      const kept = readdirSync(join(whole, stage, 'checkpoints'));
      const last = kept.at(-1) as string;
      const { best, step } = JSON.parse(
        readFileSync(join(whole, stage, 'checkpoints', last, 'loop.json'), 'utf8'),
      );
      expect(kept.map((name) => Number(name.slice(5)))).toEqual([...new Set([best.step, step])]);
      const validated = metrics(whole).filter((one) => one.stage === stage && one.kind === 'validation');
      expect(best.value).toBe(
        Math.max(...validated.filter((one) => one.step !== 0).map((one) => Number(one.accuracy))),
      );
    }
  });

  it('refuses its own output, or goes on where there is nothing to do', async () => {
    await expect(new Process().run(settings(whole), false)).rejects.toThrow(
      /holds a run already; .*--resume/,
    );
    const again = new Process();
    await again.run(settings(whole), true);
    expect(again.engines).toEqual([]);
    expect(again.lines.join('\n')).toMatch(/papo: was done before/);
  });

  it('refuses to go on with other settings, but not elsewhere or with other checkpoints', async () => {
    const other = settings(whole);
    if (other.stages.papo) other.stages.papo.lr = 1;
    await expect(new Process().run(other, true)).rejects.toThrow(/has another stages\.papo\.lr/);
    const elsewhere = settings(whole, { checkpoints: { every: 3 }, engine: { threads: 3 } });
    Object.assign(elsewhere.stages.papo ?? {}, { checkpoints: { every: 5 } });
    await new Process().run(elsewhere, true);
  });

  it('takes other settings of stages that have not begun', async () => {
    const output = join(directory, 'changed');
    await expect(new Process().run(settings(output), false, 'papo')).rejects.toThrow('run that stage first');
    await new Process().run(settings(output, { seed: 1 }), false, 'base'); // nothing had begun
    const other = settings(output, { seed: 1 });
    if (other.stages.zero) other.stages.zero.lr = 0.5;
    await new Process().run(other, true, 'base');
    if (other.stages.base) other.stages.base.lr = 0.5;
    await expect(new Process().run(other, true, 'base')).rejects.toThrow(/has another stages\.base\.lr/);
  });

  it('is the same after a kill at any moment', async () => {
    const moments: string[] = [];
    const watched = new Process();
    watched.alive = (what) => moments.push(what);
    const reference = join(directory, 'watched');
    await watched.run(settings(reference), false);
    expect(metrics(reference)).toEqual(metrics(whole));
    expect(moments.length).toBeGreaterThan(100);
    const output = join(directory, 'killed');
    const killed = settings(output);
    // one process after another dies, each a little later than the one before got
    for (let life = 0, done = false; !done; life++) {
      const process = new Process();
      let left = 7 + ((life * 13) % 37);
      process.alive = () => {
        if (left-- === 0) throw new Error('killed');
        if (left < 0) throw new Error('a dead process does nothing');
      };
      try {
        await process.run(killed, life > 0);
        done = true;
      } catch (error) {
        expect((error as Error).message).toMatch(/killed|a dead process/);
      }
      expect(life).toBeLessThan(200);
    }
    expect(metrics(output)).toEqual(metrics(whole));
    for (const stage of STAGES) expect(skillOf(output, stage), stage).toBe(skillOf(whole, stage));
    for (const stage of STAGES)
      expect(readdirSync(join(output, stage)).filter((name) => name.includes('unfinished'))).toEqual([]);
  });

  it('ends after the running step where it is interrupted, and goes on the same', async () => {
    const output = join(directory, 'interrupted');
    const process = new Process();
    process.alive = (line) => {
      if (line.startsWith('zero 3/5')) process.interrupt.abort();
    };
    await expect(process.run(settings(output), false)).rejects.toThrow(
      /^zero: ended after step 3, with a checkpoint; --resume goes on from there$/,
    );
    expect(process.lines.some((line) => line.startsWith('zero 4/5'))).toBe(false);
    await new Process().run(settings(output), true);
    expect(metrics(output)).toEqual(metrics(whole));
  });

  it('goes on after an interrupt between its stages, or while it samples for beta', async () => {
    const output = join(directory, 'sampling');
    for (const [moment, message] of [
      ['base: done', /^ended before the stage zero/],
      ['beta: responses', /^beta: ended while sampling/],
    ] as const) {
      const process = new Process();
      process.alive = (line) => {
        if (line.startsWith(moment)) process.interrupt.abort();
      };
      await expect(process.run(settings(output), moment !== 'base: done')).rejects.toThrow(message);
    }
    await new Process().run(settings(output), true);
    expect(metrics(output)).toEqual(metrics(whole));
  });
});

describe('one stage', () => {
  it('needs the one before it', async () => {
    const output = join(directory, 'alone');
    await expect(new Process().run(settings(output), false, 'papo')).rejects.toThrow(
      /^papo: needs the model of the stage beta, and .* is not there: run that stage first$/,
    );
    await new Process().run(settings(output), false, 'base');
    expect(readdirSync(output)).toContain('base');
    expect(readdirSync(output)).not.toContain('zero');
  });

  it('may start from any model, and has to have settings', async () => {
    const output = join(directory, 'direct');
    const direct = settings(output);
    direct.stages = { papo: { ...direct.stages.papo, from: 'model' } as never };
    await new Process().run(direct, false);
    expect(existsSync(join(output, 'papo', 'model'))).toBe(true);
    await expect(new Process().run(direct, true, 'zero')).rejects.toThrow('stages.zero: has no settings');
  });
});

it('a stage that ended early, killed before its model was there, is not gone on with', async () => {
  const [output, sure] = [join(directory, 'early'), join(directory, 'sure')];
  cpSync(labModel, sure, { recursive: true });
  writeFileSync(join(sure, 'model.safetensors'), '{"skill": 1.1}');
  const run = settings(output);
  run.stages = { papo: { ...run.stages.papo, from: sure, max_uniform_steps: 2 } as never };
  await new Process().run(run, false);
  const before = metrics(output);
  expect(before.at(-1)).toMatchObject({ step: 2, kind: 'validation' });
  rmSync(join(output, 'papo', 'model'), { recursive: true });
  await new Process().run(run, true);
  expect(metrics(output)).toEqual(before);
  expect(existsSync(join(output, 'papo', 'model', 'config.json'))).toBe(true);
});

it('the best checkpoint is the model where that is asked for', async () => {
  const output = join(directory, 'best');
  await new Process().run(
    settings(output, { checkpoints: { every: 50, keep: 1, result: 'best' } }),
    false,
    'base',
  );
  const [name = ''] = readdirSync(join(output, 'base', 'checkpoints')).slice(-1);
  const { best } = JSON.parse(readFileSync(join(output, 'base', 'checkpoints', name, 'loop.json'), 'utf8'));
  const folder = `step-${String(best.step).padStart(6, '0')}`;
  expect(skillOf(output, 'base')).toBe(
    readFileSync(join(output, 'base', 'checkpoints', folder, 'model.safetensors'), 'utf8'),
  );
});

it('a folder that is no run is left alone', async () => {
  const output = mkdtempSync(join(directory, 'other-'));
  writeFileSync(join(output, 'thesis.txt'), 'mine');
  writeFileSync(join(output, 'thesis.unfinished'), 'mine, too');
  await expect(new Process().run(settings(output), false)).rejects.toThrow(/is not empty, and no run's/);
  expect(readdirSync(output).sort()).toEqual(['thesis.txt', 'thesis.unfinished']);
});

it('a disk that is full ends the run with the checkpoints that are there', async () => {
  const output = join(directory, 'full');
  const process = new Process();
  let saved = 0;
  process.alive = (what) => {
    if (what === 'saveState begins' && ++saved === 2) throw new Error('ENOSPC: no space left on device');
  };
  await expect(process.run(settings(output), false)).rejects.toThrow('no space left');
  expect(readdirSync(join(output, 'base', 'checkpoints'))).toEqual(['step-000002']);
  await new Process().run(settings(output), true);
});
