/** The stages that learn from responses that are there: base, and beta from those kept of zero's model. */
import type { TrainGroup } from '../engine/trainer_types.js';
import { parse } from '../parallel/parse.js';
import { canonical } from '../parallel/render.js';
import type { Example } from './examples.js';
import { passFigures } from './figures.js';
import { learningRate } from './learning_rate.js';
import { EpochOrder } from './order.js';
import type { Prompts } from './prompts.js';
import type { SupervisedSettings } from './settings.js';
import { type Stage, type StepReport, TrainError, type Workplace } from './stage.js';

/** An example in tokens. */
export interface Lesson {
  prompt: Int32Array;
  response: Int32Array;
}

/**
 * Examples in tokens, without those whose prompt and response are longer than `longest`. `parallel`: responses are written
 * canonically first, as the engine would lay them out. Throws a TrainError where a response is missing.
 */
export async function lessons(
  examples: readonly Example[],
  prompts: Prompts,
  longest: number,
  parallel: boolean,
): Promise<Lesson[]> {
  const encoded = await Promise.all(
    examples.map(async (example) => {
      if (example.response === undefined)
        throw new TrainError(`no response to learn from: ${JSON.stringify(example.question.slice(0, 100))}`);
      const text = parallel ? canonical(parse(example.response)) : example.response;
      return {
        prompt: Int32Array.from(await prompts.prompt(example)),
        response: Int32Array.from(await prompts.response(text)),
      };
    }),
  );
  return encoded.filter(({ prompt, response }) => prompt.length + response.length <= longest);
}

export class Supervised implements Stage {
  readonly name: 'base' | 'beta';
  readonly steps: number;
  readonly #settings: SupervisedSettings;
  readonly #workplace: Workplace;
  readonly #lessons: readonly Lesson[];
  readonly #order: EpochOrder;
  /** Lessons of the whole stage, an epoch's as often as it is taken. */
  readonly #end: number;

  constructor(
    name: 'base' | 'beta',
    settings: SupervisedSettings,
    workplace: Workplace,
    lessons: readonly Lesson[],
    seed: number,
  ) {
    const { batch_size, epochs, steps } = settings;
    this.name = name;
    this.#settings = settings;
    this.#workplace = workplace;
    this.#lessons = lessons;
    this.#order = new EpochOrder(lessons.length, seed, name, 'order');
    this.#end = steps === undefined ? Math.ceil(epochs * lessons.length) : steps * batch_size;
    this.steps = steps ?? Math.ceil(this.#end / batch_size);
  }

  /** Nothing beside the step: the order of lessons follows from the seed. */
  state(): Record<string, number> {
    return {};
  }

  restore(): void {}

  async step(step: number): Promise<StepReport> {
    const { trainer } = this.#workplace;
    const { batch_size, lr, schedule } = this.#settings;
    const first = step * batch_size;
    const groups = this.#groups(first, Math.min(this.#end, first + batch_size));
    const pass = await trainer.accumulate(groups, { kind: 'likelihood' });
    const rate = learningRate(lr, schedule, step, this.steps);
    const result = await trainer.step(rate);
    return {
      metrics: {
        ...passFigures([pass]),
        lr: rate,
        epoch: (first + groups.length) / this.#lessons.length,
        ...(result.applied ? { gradient_norm: result.gradientNorm } : {}),
        updates: Number(result.applied),
        skipped_updates: Number(!result.applied),
      },
      phases: {
        rollout: 0,
        forward: pass.forwardMs,
        backward: pass.backwardMs,
        update: result.updateMs,
      },
      traces: [],
      notes: result.applied ? [] : ['update left out: the gradient is not finite'],
    };
  }

  /** Every response token of the batch weighs the same, those that the engine would force too. */
  #groups(first: number, end: number): TrainGroup[] {
    const batch: Lesson[] = [];
    for (let place = first; place < end; place++) batch.push(this.#lessons[this.#order.at(place)] as Lesson);
    const tokens = batch.reduce((sum, { response }) => sum + response.length, 0);
    return batch.map(({ prompt, response }) => ({
      prompt,
      trajectories: [{ tokens: response, weights: new Float32Array(response.length).fill(1 / tokens) }],
      parallel: this.name === 'beta',
    }));
  }
}
