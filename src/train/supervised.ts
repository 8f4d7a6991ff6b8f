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

/** `parallel`: responses are written canonically first, as the engine would lay them out. */
export async function lesson(example: Example, prompts: Prompts, parallel: boolean): Promise<Lesson> {
  const response = responseOf(example);
  const text = parallel ? canonical(parse(response)) : response;
  return {
    prompt: Int32Array.from(await prompts.prompt(example)),
    response: Int32Array.from(await prompts.response(text)),
  };
}

function responseOf({ question, response }: Example): string {
  if (response === undefined)
    throw new TrainError(`no response to learn from: ${JSON.stringify(question.slice(0, 100))}`);
  return response;
}

export interface SupervisedParts {
  workplace: Workplace;
  /** Each with a response. They become tokens when their step comes: a run's first may not wait for the last's. */
  examples: readonly Example[];
  prompts: Prompts;
  /** Of the run. */
  seed: number;
}

export class Supervised implements Stage {
  readonly name: 'base' | 'beta';
  readonly steps: number;
  readonly #settings: SupervisedSettings;
  readonly #workplace: Workplace;
  readonly #examples: readonly Example[];
  readonly #prompts: Prompts;
  readonly #order: EpochOrder;
  /** Examples of the whole stage, an epoch's as often as it is taken. */
  readonly #end: number;
  /** Examples so far that were not too long. */
  #fitting = 0;

  /** Throws a TrainError where a response is missing. */
  constructor(
    name: 'base' | 'beta',
    settings: SupervisedSettings,
    { workplace, examples, prompts, seed }: SupervisedParts,
  ) {
    examples.forEach(responseOf);
    const { batch_size, epochs, steps } = settings;
    this.name = name;
    this.#settings = settings;
    this.#workplace = workplace;
    this.#examples = examples;
    this.#prompts = prompts;
    this.#order = new EpochOrder(examples.length, seed, name, 'order');
    this.#end = steps === undefined ? Math.ceil(epochs * examples.length) : steps * batch_size;
    this.steps = steps ?? Math.ceil(this.#end / batch_size);
  }

  /** The order of examples follows from the seed. */
  state(): Record<string, number> {
    return { fitting: this.#fitting };
  }

  restore(state: Record<string, number>): void {
    this.#fitting = state.fitting ?? 0;
  }

  async step(step: number): Promise<StepReport> {
    const { trainer } = this.#workplace;
    const { batch_size, lr, schedule } = this.#settings;
    const first = step * batch_size;
    const end = Math.min(this.#end, first + batch_size);
    const lessons = await this.#lessons(first, end);
    const report: StepReport = {
      metrics: { epoch: end / this.#examples.length, updates: 0, skipped_updates: 0 },
      phases: { rollout: 0, forward: 0, backward: 0, update: 0 },
      traces: [],
      notes: [],
    };
    const tooLong = end - first - lessons.length;
    if (tooLong > 0)
      report.notes.push(`${tooLong} of ${end - first} examples are longer than max_length, and left out`);
    this.#fitting += lessons.length;
    if (this.#fitting === 0 && end >= Math.min(this.#end, this.#examples.length))
      throw new TrainError(
        `${this.name}: every example is longer than max_length, ${this.#settings.max_length} tokens`,
      );
    if (lessons.length === 0) return report;
    const pass = await trainer.accumulate(this.#groups(lessons), { kind: 'likelihood' });
    const rate = learningRate(lr, schedule, step, this.steps);
    const result = await trainer.step(rate);
    Object.assign(report.metrics, {
      ...passFigures([pass]),
      lr: rate,
      ...(result.applied ? { gradient_norm: result.gradientNorm } : {}),
      updates: Number(result.applied),
      skipped_updates: Number(!result.applied),
    });
    Object.assign(report.phases, {
      forward: pass.forwardMs,
      backward: pass.backwardMs,
      update: result.updateMs,
    });
    if (!result.applied) report.notes.push('update left out: the gradient is not finite');
    return report;
  }

  /** Those in a part of the order that are not too long. */
  async #lessons(first: number, end: number): Promise<Lesson[]> {
    const examples = Array.from(
      { length: end - first },
      (_, i) => this.#examples[this.#order.at(first + i)] as Example,
    );
    const all = await Promise.all(
      examples.map((example) => lesson(example, this.#prompts, this.name === 'beta')),
    );
    return all.filter(({ prompt, response }) => prompt.length + response.length <= this.#settings.max_length);
  }

  /** Every response token of the batch weighs the same, those that the engine would force too. */
  #groups(batch: readonly Lesson[]): TrainGroup[] {
    const tokens = batch.reduce((sum, { response }) => sum + response.length, 0);
    return batch.map(({ prompt, response }) => ({
      prompt,
      trajectories: [{ tokens: response, weights: new Float32Array(response.length).fill(1 / tokens) }],
      parallel: this.name === 'beta',
    }));
  }
}
