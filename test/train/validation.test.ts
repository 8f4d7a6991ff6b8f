import { beforeAll, expect, it } from 'vitest';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { Prompts } from '../../src/train/prompts.js';
import { heldOutExamples } from '../../src/train/questions.js';
import { scorer } from '../../src/train/scoring.js';
import type { ValidationSettings } from '../../src/train/settings.js';
import { validate } from '../../src/train/validation.js';
import { labModel } from '../lab_model.js';
import { TrainableEngine } from './double.js';
import { SOLVERS } from './tasks/solve.js';

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await Tokenizer.load(labModel);
});

/** Of a model that knows its products, and nothing else. */
async function metrics(families: string[]) {
  const writer = (question: string) => ({
    text: `\\boxed{${question.startsWith('Compute') ? SOLVERS.products?.(question) : 'none'}}`,
  });
  const data = { tasks: { families, difficulty: [1, 1], count: 40 } };
  const settings: ValidationSettings = {
    data,
    every: 1,
    samples: 2,
    temperature: 1,
    top_p: 1,
    max_tokens: 50,
  };
  const report = await validate(
    {
      engine: new TrainableEngine(tokenizer, writer),
      tokenizer,
      prompts: new Prompts(tokenizer, undefined, undefined),
      score: await scorer('zero', 50),
      examples: await heldOutExamples(data),
      parallel: undefined,
      traces: 0,
    },
    settings,
  );
  return report.metrics;
}

it('tells how good a model is at each family of tasks', async () => {
  const { accuracy, solved, ...others } = await metrics(['letters', 'products', 'products', 'products']);
  expect(others).toMatchObject({ accuracy_letters: 0, accuracy_products: 1 });
  expect(accuracy).toBeGreaterThan(0.5);
  expect(accuracy).toBeLessThan(0.95);
  expect(solved).toBe(accuracy);
});

it('but not where there is one alone', async () => {
  const one = await metrics(['products']);
  expect(one.accuracy).toBe(1);
  expect(Object.keys(one).filter((name) => name.startsWith('accuracy_'))).toEqual([]);
});
