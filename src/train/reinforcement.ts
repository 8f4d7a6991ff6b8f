/** The stages that learn from their own responses: zero by DAPO, papo by PAPO. */
import { mean, uniform } from './advantages.js';
import { sampleBatch } from './batch.js';
import type { Example } from './examples.js';
import { responseFigures, type Scored, traces } from './figures.js';
import { learningRate } from './learning_rate.js';
import { type Method, passes } from './methods.js';
import { EpochOrder } from './order.js';
import type { Prompts } from './prompts.js';
import { seedOf } from './random.js';
import { engineRequest } from './requests.js';
import { sample } from './sample.js';
import type { Scorer } from './scoring.js';
import type { ReinforcementSettings } from './settings.js';
import { type Stage, type StepReport, TrainError, type Workplace } from './stage.js';
import { updatePolicy } from './update.js';

interface Group {
  responses: Scored[];
  /** Those that the update may learn from. */
  kept: Scored[];
}

export interface ReinforcementParts {
  workplace: Workplace;
  examples: readonly Example[];
  prompts: Prompts;
  score: Scorer;
  /** Of the run. */
  seed: number;
  /** Responses of a step to show. */
  traces: number;
}

const NO_STREAK = { steps: 0, responses: 0, right: 0 };

export class Reinforcement implements Stage {
  readonly name: Method['name'];
  readonly steps: number;
  readonly #method: Method;
  readonly #settings: ReinforcementSettings;
  readonly #parts: ReinforcementParts;
  readonly #order: EpochOrder;
  /** The place of the next question. */
  #place = 0;
  /** What fraction of the groups had a signal lately. */
  #yield = 1;
  /** Steps in a row without any signal, and of all their responses how many there were and how many of them right. */
  #streak = NO_STREAK;

  constructor(method: Method, settings: ReinforcementSettings, parts: ReinforcementParts) {
    this.name = method.name;
    this.steps = settings.steps;
    this.#method = method;
    this.#settings = settings;
    this.#parts = parts;
    this.#order = new EpochOrder(parts.examples.length, parts.seed, this.name, 'order');
  }

  state(): Record<string, number> {
    const { steps, responses, right } = this.#streak;
    const streak = { uniform: steps, uniform_responses: responses, uniform_right: right };
    return { place: this.#place, yield: this.#yield, ...streak };
  }

  restore(state: Record<string, number>): void {
    this.#place = state.place ?? 0;
    this.#yield = state.yield ?? 1;
    const { uniform: steps, uniform_responses: responses, uniform_right: right } = state;
    // of a streak that was not counted nothing can be said: it begins anew
    const counted = steps !== undefined && responses !== undefined && right !== undefined;
    this.#streak = counted ? { steps, responses, right } : NO_STREAK;
  }

  async step(step: number): Promise<StepReport> {
    const started = performance.now();
    const { prompts, dynamic_sampling } = this.#settings;
    const resample = dynamic_sampling.enabled;
    const batch = await sampleBatch<Group>({
      first: this.#place,
      wanted: prompts,
      limit: resample ? prompts * dynamic_sampling.limit : prompts,
      yield: this.#yield,
      start: (place, signal) => this.#group(place, signal),
      useful: (group) => !resample || !uniform(group.kept.map(({ score }) => score.reward)),
    });
    const rollout = performance.now() - started;
    this.#place = batch.next;
    this.#yield = 0.5 * this.#yield + 0.5 * (batch.useful.length / batch.seen.length);

    const all = batch.seen.flatMap((group) => group.responses);
    const kept = batch.useful.map((group) => group.kept).filter((group) => group.length > 0);
    const advantages = this.#method.advantages(kept.map((group) => group.map(({ score }) => score.reward)));
    const report: StepReport = {
      metrics: {
        ...responseFigures(all),
        groups: batch.seen.length,
        uniform_groups: batch.seen.filter((group) => uniform(group.kept.map(({ score }) => score.reward)))
          .length,
        filtered: 1 - mean(batch.seen.map((group) => group.kept.length / group.responses.length)),
        rollout_tokens: all.reduce((sum, { response }) => sum + response.tokens.length, 0),
      },
      phases: { rollout, forward: 0, backward: 0, update: 0 },
      traces: traces(
        batch.seen.map((group) => group.responses),
        this.#parts.traces,
      ),
      notes: [],
    };
    const { lr, schedule } = this.#settings;
    const learned = new Set(kept.flat());
    const update = await updatePolicy(this.#parts.workplace.trainer, this.#method, {
      groups: kept.map((group, i) =>
        group.map(({ response }, j) => ({ response, weight: advantages[i]?.[j] ?? 0 })),
      ),
      others: all.filter((one) => !learned.has(one)).map(({ response }) => response),
      rate: learningRate(lr, schedule, step, this.steps),
      step,
    });
    Object.assign(report.metrics, update.metrics);
    Object.assign(report.phases, update.phases);
    report.notes.push(...update.notes);
    if (advantages.flat().every((advantage) => advantage === 0)) this.#noSignal(report, all);
    else {
      this.#streak = NO_STREAK;
      if (resample && batch.useful.length < prompts)
        report.notes.push(
          `${batch.useful.length} of ${prompts} groups: the others of ${batch.seen.length} had equal scores`,
        );
    }
    return report;
  }

  async #group(place: number, signal: AbortSignal): Promise<Group> {
    const { workplace, examples, prompts, seed, score } = this.#parts;
    const { engine, tokenizer } = workplace;
    const example = examples[this.#order.at(place)] as Example;
    const { samples, sampling } = this.#settings;
    const request = engineRequest(await prompts.prompt(example), {
      n: samples,
      maxTokens: sampling.max_tokens,
      policyLogprobs: true,
      sampling: {
        temperature: sampling.temperature,
        topP: sampling.top_p,
        topK: sampling.top_k,
        minP: sampling.min_p,
        repetitionPenalty: sampling.repetition_penalty,
        presencePenalty: sampling.presence_penalty,
        frequencyPenalty: sampling.frequency_penalty,
        seed: seedOf(seed, this.name, 'rollout', place),
      },
      parallel: this.#method.parallel,
    });
    signal.throwIfAborted();
    const responses = await sample(engine, tokenizer.vocabulary.tags, request, signal);
    const scored = await Promise.all(
      responses.map(async (response) => ({ example, response, score: await score(example, response) })),
    );
    return { responses: scored, kept: scored.filter((one) => passes(one, this.#method.filter)) };
  }

  /** Nothing to learn from: no update, and after many such steps the stage is over. */
  #noSignal(report: StepReport, all: readonly Scored[]): void {
    this.#streak = {
      steps: this.#streak.steps + 1,
      responses: this.#streak.responses + all.length,
      right: this.#streak.right + all.filter(({ score }) => score.correct).length,
    };
    const { steps, responses, right } = this.#streak;
    const { filtered = 0, reward = 0 } = report.metrics;
    const why =
      filtered === 1 ? 'every response was filtered out' : 'the responses to each question scored the same';
    report.notes.push(`no signal: ${why} (mean reward ${reward.toFixed(3)}); no update`);
    if (steps < this.#settings.max_uniform_steps) return;
    if (responses > 0 && right === responses) {
      report.finished = `every response of ${steps} steps was right: nothing left to learn from these questions`;
      return;
    }
    throw new TrainError(
      `${this.name}: ${steps} steps in a row without any signal: in the last one ${why} (mean reward ${reward.toFixed(3)}); of the ${responses} responses of them all ${right} were right; the questions may be too hard or too easy for this model, or its format unknown to it`,
    );
  }
}
