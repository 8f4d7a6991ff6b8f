/** Tasks by the name of their family, from a seed. */
import { suggestion } from '../../config/nearest.js';
import { seedOf } from '../random.js';
import { Draw } from './draw.js';
import { grid } from './grid.js';
import { letters } from './letters.js';
import { orbits } from './orbits.js';
import { pairs } from './pairs.js';
import { primes } from './primes.js';
import { products } from './products.js';
import { reversal } from './reversal.js';
import { rounds } from './rounds.js';
import type { Family, Task } from './task.js';

export const FAMILIES: Readonly<Record<string, Family>> = {
  products,
  primes,
  rounds,
  orbits,
  pairs,
  grid,
  reversal,
  letters,
};

/** Families or difficulties that there are not. */
export class TaskError extends Error {
  override name = 'TaskError';
}

/** The easiest and the hardest. */
export type Difficulty = readonly number[];

export interface TaskSelection {
  /** Each as often as it stands here. */
  families: readonly string[];
  /** Every family has to have it, but those in `difficulties`, which have their own. */
  difficulty: Difficulty;
  difficulties?: Readonly<Record<string, Difficulty>> | undefined;
  count: number;
  seed: number;
}

/** Family and difficulty are drawn for each task. Throws a TaskError. */
export function makeTasks({ families, difficulty, difficulties = {}, count, seed }: TaskSelection): Task[] {
  const names = Object.keys(FAMILIES);
  if (families.length === 0) throw new TaskError(`expected task families, of ${names.join(', ')}`);
  for (const name of Object.keys(difficulties))
    if (!families.includes(name))
      throw new TaskError(
        `difficulties of '${name}', of which no tasks are made${suggestion(name, families)}`,
      );
  const ranges = new Map(
    families.map((name) => {
      if (!Object.hasOwn(FAMILIES, name))
        throw new TaskError(
          `no task family '${name}'${suggestion(name, names)}; there are ${names.join(', ')}`,
        );
      return [name, difficultyOf(name, difficulties[name] ?? difficulty)];
    }),
  );
  return Array.from({ length: count }, (_, i) => {
    const draw = new Draw(seedOf('task', seed, i));
    const kind = draw.pick(families);
    const [least, most] = ranges.get(kind) as [number, number];
    return makeTask(kind, draw, draw.integer(least, most));
  });
}

function difficultyOf(family: string, [least = 0, most = 0]: Difficulty): [number, number] {
  const { levels } = FAMILIES[family] as Family;
  if (!(Number.isInteger(least) && Number.isInteger(most) && 1 <= least && least <= most && most <= levels))
    throw new TaskError(
      `tasks '${family}' have difficulties from 1 to ${levels}, not from ${least} to ${most}`,
    );
  return [least, most];
}

export function makeTask(kind: string, draw: Draw, difficulty: number): Task {
  const task = (FAMILIES[kind] as Family).make(draw, difficulty);
  return { kind, difficulty, ...task, final: `The answer is \\boxed{${task.answer}}.` };
}
