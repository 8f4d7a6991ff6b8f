/**
 * An engine whose model is one number: how likely a response is right. Responses, their log-probabilities and the updates follow
 * from it, from the request's seed and from the sample's place, so that a run is as reproducible as the true one, and the
 * trainer can tell whether the log-probabilities it is given are those of now.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from '../../src/engine/errors.js';
import type {
  Loss,
  PassResult,
  StepResult,
  Trainer,
  TrainerOptions,
  TrainGroup,
} from '../../src/engine/trainer_types.js';
import type { EngineEvent, EngineRequest } from '../../src/engine/types.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { fraction } from '../../src/train/random.js';
import { ScriptedEngine, usage } from '../server/double.js';

/** What the model says to a question; `luck`: in [0, 1), right where it is below the model's skill. */
export type Writer = (question: string, right: boolean, luck: number) => Answer;

export interface Answer {
  text: string;
  reason?: 'stop' | 'length' | 'invalid_structure';
}

export class TrainableEngine extends ScriptedEngine {
  readonly tokenizer: Tokenizer;
  readonly writer: Writer;
  readonly trainers: DoubleTrainer[] = [];
  skill: number;
  /** Of the request that a test wants to see fail. */
  fails: (request: EngineRequest) => boolean = () => false;

  constructor(tokenizer: Tokenizer, writer: Writer, skill = 0.5) {
    super({ slots: 100_000 });
    this.tokenizer = tokenizer;
    this.writer = writer;
    this.skill = skill;
    this.script = (request, signal) => this.#answer(request, signal);
  }

  override async trainer(options?: TrainerOptions): Promise<never> {
    const trainer = new DoubleTrainer(this, options as TrainerOptions);
    this.trainers.push(trainer);
    return trainer as never;
  }

  async *#answer(request: EngineRequest, signal: AbortSignal): AsyncGenerator<EngineEvent[]> {
    if (this.fails(request)) throw new EngineError('internal', 'the double fails');
    const { seed } = request.sampling;
    const [, question = ''] = /user\n(.*?)<\|im_end\|>/s.exec(this.tokenizer.decode(request.prompt)) ?? [];
    yield [{ type: 'started', promptTokens: request.prompt.length, cachedTokens: 0 }];
    for (let choice = 0; choice < request.n; choice++) {
      // samples end in an order of their own
      for (let i = Number(seed % 7n); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
      if (signal.aborted) return;
      const luck = fraction(String(seed), choice);
      const { text, reason = 'stop' } = this.writer(question, luck < this.skill, luck);
      const tokens = await this.tokenizer.encodeResponse(text);
      if (reason === 'stop') tokens.push(...this.tokenizer.vocabulary.endTokens.slice(0, 1));
      const parallel = request.parallel !== undefined;
      const policyLogprobs = tokens.map((_, i) => logprob(request, choice, i, this.skill));
      const all = { ...usage, completionTokens: tokens.length, criticalPathTokens: tokens.length };
      yield [
        {
          type: 'delta',
          choice,
          branch: 0,
          channel: parallel ? 'block' : 'content',
          text,
          tokens,
          forced: false,
          ...(request.policyLogprobs ? { policyLogprobs } : {}),
        },
        { type: 'choice_finished', choice, reason, usage: all },
      ];
    }
    yield [{ type: 'finished', usage, timings: { queueMs: 0, promptMs: 0, totalMs: 0, preemptions: 0 } }];
  }
}

/** Single precision, as the engine's are. */
function logprob(request: EngineRequest, choice: number, index: number, skill: number): number {
  return Math.fround(-fraction(String(request.sampling.seed), choice, index, skill));
}

export class DoubleTrainer implements Trainer {
  readonly engine: TrainableEngine;
  readonly options: TrainerOptions;
  readonly accumulated: { groups: TrainGroup[]; loss: Loss }[] = [];
  readonly scored: TrainGroup[][] = [];
  readonly rates: number[] = [];
  /** Added to each log-probability, by a test that wants a broken promise. */
  error = 0;
  /** What the next gradients are multiplied with. */
  scale = 1;
  closed = false;
  #gradient = 0;
  #momentum = 0;

  constructor(engine: TrainableEngine, options: TrainerOptions) {
    this.engine = engine;
    this.options = options;
  }

  async accumulate(groups: TrainGroup[], loss: Loss): Promise<PassResult> {
    const pass = this.#pass(groups);
    this.accumulated.push({ groups, loss });
    let sum = 0;
    for (const { trajectories } of groups)
      for (const { weights } of trajectories) for (const weight of weights) sum += weight;
    this.#gradient += sum;
    let lossValue = 0;
    let at = 0;
    for (const { trajectories } of groups)
      for (const { weights } of trajectories) {
        const logprobs = pass.logprobs[at++] as Float32Array;
        for (const [i, weight] of weights.entries()) lossValue -= weight * (logprobs[i] as number);
      }
    return { ...pass, loss: lossValue };
  }

  async score(groups: TrainGroup[]): Promise<PassResult> {
    this.scored.push(groups);
    return this.#pass(groups);
  }

  #pass(groups: TrainGroup[]): PassResult {
    if (this.engine.running > 0) throw new EngineError('invalid_request', 'requests run');
    let mismatch = 0;
    let tokens = 0;
    let rows = 0;
    const logprobs: Float32Array[] = [];
    for (const { prompt, trajectories, request } of groups) {
      rows += prompt.length;
      for (const { tokens: ids, weights, oldLogprobs, forced, choice = 0 } of trajectories) {
        rows += ids.length;
        tokens += weights.filter((weight) => weight !== 0).length;
        const values = Float32Array.from(ids, (token, i) => {
          if (request === undefined) return -fraction(token, i, this.engine.skill);
          return forced?.[i] === 1 ? 0 : logprob(request, choice, i, this.engine.skill) + this.error;
        });
        logprobs.push(values);
        for (const [i, old] of (oldLogprobs ?? []).entries())
          mismatch = Math.max(mismatch, Math.abs(old - (values[i] as number)));
      }
    }
    const [forwardMs, backwardMs] = [1, 2];
    return {
      loss: 0,
      tokens,
      rows,
      savedRows: 0,
      entropy: 0.5,
      clipped: 0,
      mismatch,
      logprobs,
      forwardMs,
      backwardMs,
    };
  }

  async step(learningRate: number): Promise<StepResult> {
    this.rates.push(learningRate);
    const gradient = this.#gradient * this.scale;
    this.#gradient = 0;
    if (!Number.isFinite(gradient)) return { gradientNorm: gradient, applied: false, updateMs: 1 };
    this.#momentum = 0.9 * this.#momentum + gradient;
    const moved = this.engine.skill + learningRate * Math.sin(1000 * (this.engine.skill + this.#momentum));
    this.engine.skill = Math.min(0.9, Math.max(0.1, moved));
    return { gradientNorm: Math.abs(gradient), applied: true, updateMs: 3 };
  }

  async close(): Promise<void> {
    if (this.engine.closed) throw new Error('a trainer outlives its engine');
    this.closed = true;
  }

  async saveWeights(directory: string): Promise<void> {
    writeFileSync(join(directory, 'model.safetensors'), JSON.stringify({ skill: this.engine.skill }));
  }

  async saveState(file: string): Promise<void> {
    writeFileSync(file, JSON.stringify({ skill: this.engine.skill, momentum: this.#momentum }));
  }

  async loadState(file: string): Promise<void> {
    const { skill, momentum } = JSON.parse(readFileSync(file, 'utf8'));
    this.engine.skill = skill;
    this.#momentum = momentum;
  }
}

/** A block of two branches and an answer. */
export function parallelText(answer: string): string {
  return [
    '<guideline>',
    '<plan>1: one way</plan>',
    '<plan>2: another way</plan>',
    '</guideline>',
    '<step>',
    '1: it is like this',
    '</step>',
    '<step>',
    '2: it is like that',
    '</step>',
    '<takeaway>',
    'both agree on it',
    '</takeaway>',
    `The answer is \\boxed{${answer}}.`,
  ].join('\n');
}
