import { describe, expect, it } from 'vitest';
import { equalAnswers } from '../../../src/answers/equal.js';
import { parse } from '../../../src/parallel/parse.js';
import { canonical } from '../../../src/parallel/render.js';
import { formatScore } from '../../../src/parallel/score.js';
import { hasTags } from '../../../src/parallel/tags.js';
import { Tokenizer } from '../../../src/tokenizer/tokenizer.js';
import { isCorrect } from '../../../src/train/rewards.js';
import { Draw } from '../../../src/train/tasks/draw.js';
import { FAMILIES, makeTasks, TaskError } from '../../../src/train/tasks/families.js';
import { FAULT_NAMES, imperfectText } from '../../../src/train/tasks/imperfect.js';
import { parallelText, sequentialText } from '../../../src/train/tasks/texts.js';
import { taskText } from '../../../src/train/tasks/write.js';
import { labModel } from '../../lab_model.js';
import { SOLVERS } from './solve.js';

const NAMES = Object.keys(FAMILIES);

function tasks(name: string, count: number, seed = 1) {
  const levels = FAMILIES[name]?.levels as number;
  return makeTasks({ families: [name], difficulty: [1, levels], count, seed });
}

describe.each(NAMES)('%s', (name) => {
  it('has the one right answer', () => {
    for (const { question, answer } of tasks(name, 1000)) {
      const found = SOLVERS[name]?.(question);
      expect(found, question).toEqual([answer]);
    }
  });

  it('is written out in valid form, whose every calculation is right', () => {
    for (const task of tasks(name, 300)) {
      const text = parallelText(task);
      expect(formatScore(text), text).toBe(0);
      const segments = parse(text);
      expect(canonical(segments)).toBe(text);
      const blocks = segments.filter((segment) => segment.type === 'block');
      expect(blocks.map(({ branches }) => branches.length)).toEqual(
        task.blocks.map(({ plans }) => plans.length),
      );
      const sequential = sequentialText(task);
      expect(hasTags(sequential)).toBe(false);
      expect(isCorrect(text, task.answer)).toBe(true);
      expect(isCorrect(sequential, task.answer)).toBe(true);
      for (const { plans, steps, takeaway } of task.blocks) {
        expect(steps).toHaveLength(plans.length);
        if (name === 'grid') continue; // its equations are clues, which may fail
        for (const line of [...steps, takeaway]) checkCalculations(line);
      }
    }
  });

  it('has every difficulty, and harder tasks with more to do', () => {
    const length = (level: number) =>
      makeTasks({ families: [name], difficulty: [level, level], count: 200, seed: 3 }).reduce(
        (total, task) => total + task.question.length,
        0,
      );
    expect(length(FAMILIES[name]?.levels as number)).toBeGreaterThan(length(1));
  });
});

/** Numbers, products, sums, differences and remainders on the left of an equals sign, its value on the right. */
function checkCalculations(line: string): void {
  for (const [whole, a, operator, b, c, result] of line.matchAll(
    /(?<![\d*+-] ?)(-?\d+)(\*| \+ | - | mod )(\d+)(?: \+ (\d+))? = (-?\d+)/g,
  )) {
    const [x, y] = [Number(a), Number(b)];
    const value = operator === '*' ? x * y : operator === ' + ' ? x + y : operator === ' - ' ? x - y : x % y;
    expect(value + Number(c ?? 0), whole).toBe(Number(result));
  }
}

describe('makeTasks', () => {
  it('makes the same tasks from the same seed', () => {
    const make = (seed: number) => makeTasks({ families: NAMES, difficulty: [1, 2], count: 40, seed });
    expect(make(5)).toEqual(make(5));
    expect(make(5)).not.toEqual(make(6));
    // on every machine and in every version
    expect(make(0)[0]?.question).toBe('How many A are in CBAAA, CABCCA?');
    expect(make(5).slice(0, 10)).toEqual(
      makeTasks({ families: NAMES, difficulty: [1, 2], count: 10, seed: 5 }),
    );
  });

  it('takes difficulties of their own for single families, and a family as often as it stands there', () => {
    const made = makeTasks({
      families: ['primes', 'orbits', 'primes', 'primes'],
      difficulty: [1, 1],
      difficulties: { orbits: [2, 3] },
      count: 400,
      seed: 1,
    });
    const levels = (name: string) =>
      new Set(made.filter(({ kind }) => kind === name).map(({ difficulty }) => difficulty));
    expect(levels('primes')).toEqual(new Set([1]));
    expect(levels('orbits')).toEqual(new Set([2, 3]));
    const orbits = made.filter(({ kind }) => kind === 'orbits').length;
    expect(orbits).toBeGreaterThan(70);
    expect(orbits).toBeLessThan(130);
    const one = (difficulties: Record<string, number[]>) => () =>
      makeTasks({ families: ['primes'], difficulty: [1, 1], difficulties, count: 1, seed: 0 });
    expect(one({ prime: [1, 1] })).toThrow(
      "difficulties of 'prime', of which no tasks are made (did you mean 'primes'?)",
    );
    expect(one({ primes: [1, 5] })).toThrow("tasks 'primes' have difficulties from 1 to 4, not from 1 to 5");
  });

  it('refuses what there is not', () => {
    const make = (families: string[], difficulty: [number, number]) => () =>
      makeTasks({ families, difficulty, count: 1, seed: 0 });
    expect(make(['product'], [1, 1])).toThrow(TaskError);
    expect(make(['product'], [1, 1])).toThrow(
      "no task family 'product' (did you mean 'products'?); there are products,",
    );
    expect(make([], [1, 1])).toThrow('expected task families');
    for (const range of [
      [0, 1],
      [2, 1],
      [1, 5],
      [1, 1.5],
    ] as [number, number][])
      expect(make(['products'], range)).toThrow("tasks 'products' have difficulties from 1 to 4");
  });
});

describe('imperfectText', () => {
  it.each(FAULT_NAMES)('with %s scores below 0', (fault) => {
    for (const name of NAMES)
      for (const task of tasks(name, 20)) {
        const text = imperfectText(task, new Draw(1n), fault);
        const score = formatScore(text);
        expect(score, text).toBeLessThan(0);
        expect(score).toBeGreaterThanOrEqual(-2);
        expect(text.includes(task.answer)).toBe(true);
      }
  });

  it('draws from all faults', () => {
    const [task] = tasks('products', 1);
    const draw = new Draw(2n);
    const texts = new Set(
      Array.from({ length: 400 }, () => taskText(task as NonNullable<typeof task>, 'imperfect', draw)),
    );
    expect(texts.size).toBeGreaterThanOrEqual(FAULT_NAMES.length);
  });
});

it('orbits have steps of 8 plans and more, 6 branches and more', async () => {
  const tokenizer = await Tokenizer.load(labModel);
  const length = async (text: string) => (await tokenizer.encodeTurns(text)).length;
  for (const { blocks } of tasks('orbits', 20))
    for (const { plans, steps } of blocks) {
      expect(plans.length).toBeGreaterThanOrEqual(6);
      for (const [i, plan] of plans.entries())
        expect(await length(`${i + 1}: ${steps[i]}`)).toBeGreaterThanOrEqual(
          8 * (await length(`${i + 1}: ${plan}`)),
        );
    }
});

it('answers differ from other answers', () => {
  const answers = [
    ...new Set(makeTasks({ families: NAMES, difficulty: [1, 2], count: 300, seed: 9 }).map((t) => t.answer)),
  ];
  for (const [i, a] of answers.entries())
    for (const b of answers.slice(i + 1, i + 4)) expect(equalAnswers(a, b)).toBe(false);
});
