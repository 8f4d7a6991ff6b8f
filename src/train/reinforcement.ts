/** The stages that learn from their own responses: zero by DAPO, papo by PAPO. */
import type { PassResult } from '../engine/trainer_types.js';
import { mean, uniform } from './advantages.js';
import { sampleBatch } from './batch.js';
import type { Example } from './examples.js';
import { passFigures, responseFigures, type Scored, traces } from './figures.js';
import { learningRate } from './learning_rate.js';
import { type Method, passes } from './methods.js';
import { EpochOrder } from './order.js';
import type { Prompts } from './prompts.js';
import { seedOf } from './random.js';
import { engineRequest } from './requests.js';
import { fitting, sample } from './sample.js';
import type { Scorer } from './scoring.js';
import type { ReinforcementSettings } from './settings.js';
import { checkExact, type Stage, type StepReport, TrainError, type Workplace } from './stage.js';
import { forcedGroups, lossTokens, sampledGroups, type Weighted } from './trajectories.js';

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
  /** Steps in a row without any signal. */
  #uniform = 0;

  constructor(method: Method, settings: ReinforcementSettings, parts: ReinforcementParts) {
    this.name = method.name;
    this.steps = settings.steps;
    this.#method = method;
    this.#settings = settings;
    this.#parts = parts;
    this.#order = new EpochOrder(parts.examples.length, parts.seed, this.name, 'order');
  }

  state(): Record<string, number> {
    return { place: this.#place, yield: this.#yield, uniform: this.#uniform };
  }

  restore(state: Record<string, number>): void {
    this.#place = state.place ?? 0;
    this.#yield = state.yield ?? 1;
    this.#uniform = state.uniform ?? 0;
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
    if (advantages.flat().every((advantage) => advantage === 0)) this.#noSignal(report, all);
    else {
      this.#uniform = 0;
      if (resample && batch.useful.length < prompts)
        report.notes.push(
          `${batch.useful.length} of ${prompts} groups: the others of ${batch.seen.length} had equal scores`,
        );
      await this.#update(kept, advantages, step, report);
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
    const responses = await Promise.all(
      fitting(request, engine.info.slots).map((part) =>
        sample(engine, tokenizer.vocabulary.tags, part, signal),
      ),
    );
    const scored = await Promise.all(
      responses
        .flat()
        .map(async (response) => ({ example, response, score: await score(example, response) })),
    );
    return { responses: scored, kept: scored.filter((one) => passes(one, this.#method.filter)) };
  }

  async #update(
    kept: readonly Scored[][],
    advantages: readonly number[][],
    step: number,
    report: StepReport,
  ): Promise<void> {
    const { trainer } = this.#parts.workplace;
    const { loss, updates, forcedToo } = this.#method;
    const { lr, schedule } = this.#settings;
    const rate = learningRate(lr, schedule, step, this.steps);
    const parts = split(
      kept.map((group, i) => group.map(({ response }, j) => ({ response, weight: advantages[i]?.[j] ?? 0 }))),
      updates,
    ).map((groups) => tokenMean(groups, forcedToo));
    const { phases } = report;
    const passes: PassResult[] = [];
    const norms: number[] = [];
    let mismatch = 0;
    if (parts.length > 1) {
      // Once the weights have moved, log-probabilities differ rightly; so all are compared before.
      const all = await trainer.score(parts.flatMap((groups) => sampledGroups(groups.flat())));
      phases.forward += all.forwardMs;
      mismatch = all.mismatch;
      checkExact(mismatch, this.name, step);
    }
    for (const groups of parts) {
      const responses = groups.flat();
      const forced = forcedToo ? forcedGroups(responses) : [];
      const pass = await trainer.accumulate([...sampledGroups(responses), ...forced], loss);
      phases.forward += pass.forwardMs;
      phases.backward += pass.backwardMs;
      passes.push(pass);
      if (parts.length === 1) {
        mismatch = pass.mismatch;
        checkExact(mismatch, this.name, step);
      }
      const result = await trainer.step(rate);
      phases.update += result.updateMs;
      if (result.applied) norms.push(result.gradientNorm);
      else report.notes.push('the gradient is not finite: this update was left out');
    }
    Object.assign(report.metrics, passFigures(passes), {
      lr: rate,
      mismatch,
      drift: Math.max(...passes.map((pass) => pass.mismatch)),
      ...(norms.length > 0 ? { gradient_norm: mean(norms) } : {}),
      updates: norms.length,
      skipped_updates: parts.length - norms.length,
    });
  }

  /** Nothing to learn from: no update, and after many such steps the stage is over. */
  #noSignal(report: StepReport, all: readonly Scored[]): void {
    this.#uniform++;
    const { accuracy = 0, filtered = 0, reward = 0 } = report.metrics;
    const why =
      filtered === 1 ? 'every response was filtered out' : 'the responses to each question scored the same';
    report.notes.push(`no signal: ${why} (mean reward ${reward.toFixed(3)}); no update`);
    Object.assign(report.metrics, { updates: 0 });
    if (this.#uniform < this.#settings.max_uniform_steps) return;
    if (all.length > 0 && accuracy === 1) {
      report.finished = `every response of ${this.#uniform} steps was right: nothing left to learn from these questions`;
      return;
    }
    throw new TrainError(
      `${this.name}: ${this.#uniform} steps in a row without any signal: ${why} (mean reward ${reward.toFixed(3)}, accuracy ${accuracy.toFixed(3)}); the questions may be too hard or too easy for this model, or its format unknown to it`,
    );
  }
}

/** Consecutive parts, as even as can be; no more than there are groups. */
function split<T>(groups: readonly T[], parts: number): T[][] {
  const count = Math.min(parts, groups.length);
  const bound = (i: number) => Math.floor((i * groups.length) / count);
  return Array.from({ length: count }, (_, i) => groups.slice(bound(i), bound(i + 1)));
}

/** Every token of an update weighs the same: its response's advantage over the number of tokens in the loss. */
function tokenMean(groups: readonly Weighted[][], forcedToo: boolean): Weighted[][] {
  let total = 0;
  for (const group of groups) for (const { response } of group) total += lossTokens(response, forcedToo);
  return groups.map((group) =>
    group.map(({ response, weight }) => ({ response, weight: total === 0 ? 0 : weight / total })),
  );
}
