import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from '../../src/parallel/parse.js';
import { formatScore } from '../../src/parallel/score.js';
import { loadReward, RewardError } from '../../src/train/reward_module.js';
import { isCorrect, overlongPenalty, type RewardOptions, score } from '../../src/train/rewards.js';
import type { Response } from '../../src/train/sample.js';
import { scorer } from '../../src/train/scoring.js';
import { runSettings } from './settings.js';

const VALID =
  '<guideline>\n<plan>1: half</plan>\n</guideline>\n<step>\n1: 1/2 = 0.5\n</step>\n<takeaway>\nit is 0.5\n</takeaway>\n';
const EXAMPLE = { question: 'What is 1/2?', answer: '\\frac12' };

function judged(text: string, tokens = 5) {
  return { text, tokens: new Array<number>(tokens).fill(0), segments: parse(text) };
}

describe('score', () => {
  const cases: [string, RewardOptions['kind'], string, number, boolean][] = [
    ['right and valid', 'zero', `${VALID}\\boxed{0.5}`, 1, true],
    ['wrong and valid', 'zero', `${VALID}\\boxed{0.6}`, -1, false],
    ['right without a block', 'zero', '\\boxed{0.5}', -1.5, true],
    ['right with a small fault', 'zero', `${VALID.replace('it is 0.5', 'so')}\\boxed{0.5}`, -0.4, true],
    ['nothing', 'zero', '', -2, false],
    ['right and valid', 'papo', `${VALID}\\boxed{0.5}`, 1, true],
    ['right without a block', 'papo', '\\boxed{0.5}', 1, true],
    ['without an answer', 'papo', VALID, -1, false],
  ];
  it.each(cases)('of a response %s (%s)', async (_, kind, text, reward, correct) => {
    const result = await score(EXAMPLE, judged(text), { kind, maxTokens: 100 });
    expect(result).toEqual({ reward, correct, format: formatScore(text) });
  });

  it('takes the overlong penalty off', async () => {
    const options = { kind: 'papo', maxTokens: 100, overlong: { buffer: 10, factor: 2 } } as const;
    const at = async (tokens: number) =>
      (await score(EXAMPLE, judged('\\boxed{0.5}', tokens), options)).reward;
    expect(await at(90)).toBe(1);
    expect(await at(95)).toBe(0);
    expect(await at(100)).toBe(-1);
  });

  it('reads the last box', () => {
    expect(isCorrect('\\boxed{1} no, \\boxed{0.50}', '\\frac12')).toBe(true);
    expect(isCorrect('\\boxed{0.5} no, \\boxed{1}', '\\frac12')).toBe(false);
    expect(isCorrect('0.5', '\\frac12')).toBe(false);
  });
});

it('a stage scores by the limit of what it scores', async () => {
  const { zero } = runSettings({ stages: { zero: { sampling: { max_tokens: 100 } } } }).stages;
  const long = judged('', 100) as unknown as Response;
  const rewards = [100, 1000].map(async (limit) => (await scorer('zero', limit, zero))(EXAMPLE, long));
  const [cut, whole] = await Promise.all(rewards);
  expect((whole?.reward ?? 0) - (cut?.reward ?? 0)).toBe(1);
});

it('the overlong penalty grows over the buffer alone', () => {
  const overlong = { buffer: 4, factor: 1 };
  expect([0, 96, 97, 98, 100, 120].map((n) => overlongPenalty(n, 100, overlong))).toEqual([
    0, 0, -0.25, -0.5, -1, -1,
  ]);
  expect(overlongPenalty(100, 100)).toBe(0);
});

describe('loadReward', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'reward-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };

  it.each([
    [
      'typed.ts',
      'interface S { tokens: number; segments: { type: string }[] }\nexport default async (s: S): Promise<number> => s.tokens + s.segments.length;',
    ],
    ['plain.mjs', 'export default (s) => s.tokens + s.segments.length;'],
    ['common.cjs', 'module.exports = (s) => s.tokens + s.segments.length;'],
  ])('scores by %s', async (name, content) => {
    const module = await loadReward(file(name, content));
    const response = judged(`${VALID}\\boxed{1}`, 7);
    const result = await score(EXAMPLE, response, { kind: 'zero', maxTokens: 100, module });
    expect(result).toEqual({ reward: 9, correct: false, format: 0 });
  });

  it.each([
    ['throws', '() => { throw new Error("no judge"); }', /threw no judge, for the question "What is 1\/2\?"/],
    ['rejects', 'async () => { throw "late"; }', /threw late/],
    ['returns NaN', '() => NaN', /expected a finite number, got NaN, for the question/],
    ['returns infinity', '() => -Infinity', /got -Infinity/],
    ['returns a text', '() => "1"', /got string/],
    ['returns nothing', '() => {}', /got undefined/],
  ])('fails where it %s', async (name, body, message) => {
    const path = file(`${name.replaceAll(' ', '_')}.ts`, `export default ${body};`);
    const module = await loadReward(path);
    const error = await score(EXAMPLE, judged(VALID), { kind: 'papo', maxTokens: 9, module }).catch((e) => e);
    expect(error).toBeInstanceOf(RewardError);
    expect(error.message).toContain(path);
    expect(error.message).toMatch(message);
  });

  it.each([
    ['a missing file', 'none.ts', undefined, /could not be loaded/],
    ['a syntax error', 'broken.ts', 'export default (', /could not be loaded/],
    ['a module that throws', 'at_once.ts', 'throw new Error("at once")', /could not be loaded: at once/],
    [
      'no default export',
      'named.ts',
      'export const reward = () => 1;',
      /expected a function as its default export/,
    ],
    ['a default that is no function', 'value.ts', 'export default 1;', /found number/],
  ])('refuses %s', async (_, name, content, message) => {
    const path = content === undefined ? join(folder, name) : file(name, content);
    const error = await loadReward(path).catch((e) => e);
    expect(error).toBeInstanceOf(RewardError);
    expect(error.message).toMatch(message);
  });
});
