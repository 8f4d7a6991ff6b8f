/** A stage's examples, from files or made as tasks. */
import { readExamples } from './data/read.js';
import type { Example } from './examples.js';
import { fraction, seedOf } from './random.js';
import type { BaseSettings, DataSettings } from './settings.js';
import { Draw } from './tasks/draw.js';
import { makeTasks } from './tasks/families.js';
import { taskText } from './tasks/write.js';

/** `seed`: of tasks that have none of their own, and of which examples a limit leaves. Throws a DataError or a TaskError. */
export async function loadExamples(data: DataSettings, seed: number): Promise<Example[]> {
  if (data.files !== undefined)
    return readExamples(data.files, {
      limit: data.limit,
      ...(data.limit === undefined ? {} : { shuffle: seedOf(seed, 'examples') }),
    });
  const settings = data.tasks as NonNullable<DataSettings['tasks']>;
  const tasks = makeTasks({ ...settings, seed: settings.seed ?? seed });
  return tasks.slice(0, data.limit).map((task) => ({ question: task.question, answer: task.answer, task }));
}

/** Of tasks that have none: the same questions whatever the run's seed is, and others than those it learns from. */
const VALIDATION_SEED = 2 ** 32 - 1;

/** What a run is validated on. */
export function heldOutExamples(data: DataSettings): Promise<Example[]> {
  return loadExamples(data, VALIDATION_SEED);
}

/** Tasks written out, each in one of the ways that `texts` weighs; examples that are no tasks keep their response. */
export function withTexts(
  examples: readonly Example[],
  texts: BaseSettings['texts'],
  seed: number,
): Example[] {
  return examples.map((example, i) => {
    if (example.task === undefined) return example;
    const { kind, system } = weighted(texts, fraction(seed, 'text', i));
    return {
      ...example,
      ...(system === undefined ? {} : { system }),
      response: taskText(example.task, kind, new Draw(seedOf(seed, 'draw', i))),
    };
  });
}

/** `at`: in [0, 1). */
function weighted<T extends { weight: number }>(items: readonly T[], at: number): T {
  let left = at * items.reduce((sum, { weight }) => sum + weight, 0);
  for (const item of items) {
    left -= item.weight;
    if (left < 0) return item;
  }
  return items.at(-1) as T;
}
