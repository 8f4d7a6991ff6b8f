import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { type Asked, type ComparisonOptions, compareStages, overall } from '../../src/train/comparison.js';
import { comparisonTables } from '../../src/train/comparison_tables.js';
import type { StageName } from '../../src/train/settings.js';
import { labModel } from '../lab_model.js';
import { parallelText, TrainableEngine } from './double.js';
import { runSettings } from './settings.js';
import { SOLVERS } from './tasks/solve.js';

let directory: string;
let tokenizer: Tokenizer;
const engines: TrainableEngine[] = [];
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'npr-comparison-'));
  tokenizer = await Tokenizer.load(labModel);
});
afterAll(() => rmSync(directory, { recursive: true }));

const tasks = { families: ['products', 'letters', 'letters', 'letters'], count: 40 };
const SKILL: Partial<Record<StageName, number>> = { base: 0.5, papo: 1 };

/** Of a run whose stages base and papo are done. */
function run(name: string, more = {}): string {
  const folder = join(directory, name);
  for (const stage of ['base/model', 'zero/checkpoints', 'papo/model'])
    mkdirSync(join(folder, stage), { recursive: true });
  const settings = runSettings({
    output: '/where/it/was/made',
    validation: { data: { tasks }, samples: 4, max_tokens: 100 },
    stages: {
      base: { texts: [{ kind: 'sequential', system: 'in one line' }, { kind: 'imperfect' }] },
      zero: {},
      papo: { system: 'at once' },
    },
    ...more,
  });
  writeFileSync(join(folder, 'settings.json'), JSON.stringify(settings));
  return folder;
}

const options: ComparisonOptions = {
  alone: 3,
  progress: () => {},
  load: async (folder) => {
    const stage = basename(dirname(folder)) as StageName;
    const writer = (question: string, right: boolean) => {
      const family = question.startsWith('Compute') ? 'products' : 'letters';
      const [answer = ''] = right ? (SOLVERS[family]?.(question) ?? []) : ['none'];
      return { text: stage === 'papo' ? parallelText(answer) : `\\boxed{${answer}}` };
    };
    const engine = new TrainableEngine(tokenizer, writer, SKILL[stage]);
    engines.push(engine);
    return { engine: engine as never, tokenizer };
  },
};

describe('stages compared', () => {
  let asked: Asked[];
  beforeAll(async () => {
    asked = await compareStages(run('one'), options);
  });

  it('are those with a model, each asked as it was trained, base in every way', () => {
    expect(asked.map(({ stage, mode, system }) => [stage, mode, system])).toEqual([
      ['base', 'sequential', 'in one line'],
      ['base', 'sequential', undefined],
      ['papo', 'parallel', 'at once'],
    ]);
    expect(engines.map(({ closed }) => closed)).toEqual([true, true]);
    const [base, papo] = engines.map(({ requests }) => requests);
    expect(base?.filter(({ parallel }) => parallel !== undefined)).toEqual([]);
    expect(papo?.filter(({ parallel }) => parallel === undefined)).toEqual([]);
    expect(tokenizer.decode(base?.[0]?.prompt ?? [])).toContain('in one line');
    expect(tokenizer.decode(base?.at(-1)?.prompt ?? [])).not.toContain('system');
  });

  it('have figures of every family, and of all together as of their questions', () => {
    for (const { families } of asked) {
      expect(families.map(({ family }) => family)).toEqual(['letters', 'products']);
      expect(families.reduce((sum, { questions }) => sum + questions, 0)).toBe(40);
      for (const { alone } of families)
        expect(alone.map(({ tokens }) => tokens > 0)).toEqual([true, true, true]);
    }
    const [base, , papo] = asked as [Asked, Asked, Asked];
    expect(papo.families.map(({ metrics }) => metrics.accuracy)).toEqual([1, 1]);
    const [letters, products] = base.families.map(
      ({ questions, metrics }) => questions * (metrics.accuracy ?? 0),
    );
    const all = overall(base.families);
    expect(all.metrics.accuracy).toBeCloseTo(((letters ?? 0) + (products ?? 0)) / 40, 12);
    expect(all.metrics.accuracy).toBeGreaterThan(0.3);
    expect(all.metrics.accuracy).toBeLessThan(0.7);
    expect(all.alone).toHaveLength(6);
  });

  it('make tables, of several runs their means', () => {
    const other = asked.map((one) => ({
      ...one,
      run: 'two',
      families: one.families.map((figures) => ({
        ...figures,
        metrics: { ...figures.metrics, accuracy: 0.5 },
        alone: [{ ms: one.stage === 'base' ? 30 : 10, tokens: 5 }],
      })),
    }));
    const [whole, families, latencies] = comparisonTables(other)
      .split('\n\n')
      .map((table) => table.split('\n'));
    expect(whole).toHaveLength(5);
    expect(whole?.[2]).toMatch(
      /^\| base, sequential: "in one line" \| 50.0% \| 0.0% .* 30.0 ms \| 1.00 x \|$/,
    );
    expect(whole?.[4]).toMatch(/^\| papo, parallel \| 50.0% \| 100.0% .* 10.0 ms \| 3.00 x \|$/);
    expect(families?.[0]).toBe('| accuracy | letters | products |');
    expect(latencies?.[4]).toBe('| papo, parallel | 10.0 ms, 3.00 x | 10.0 ms, 3.00 x |');
    const both = comparisonTables([...asked, ...other]).split('\n');
    expect(both[4]).toContain('| papo, parallel | 75.0% |');
  });

  it('are refused where there is no run, or nothing held out', async () => {
    await expect(compareStages(join(directory, 'none'), options)).rejects.toThrow(
      /none: no run's output: .*ENOENT/,
    );
    await expect(compareStages(run('two', { validation: undefined }), options)).rejects.toThrow(
      'two: the run has no validation',
    );
  });
});
