/** One stage from its start or its last checkpoint to its model. */
import { join } from 'node:path';
import { sweep } from '../checkpoint/durable.js';
import { Checkpoints, type LoopState } from './checkpoints.js';
import { type OpenStage, openStage, type RunOptions } from './open_stage.js';
import type { CheckpointSettings, StageName, TrainSettings } from './settings.js';
import { closeAll, Interrupted, type StepReport } from './stage.js';
import { validate } from './validation.js';

export function runStage(name: StageName, settings: TrainSettings, options: RunOptions): Promise<void> {
  return new StageRun(name, settings, options).run();
}

class StageRun {
  readonly #name: StageName;
  readonly #folder: string;
  readonly #settings: TrainSettings;
  readonly #options: RunOptions;
  readonly #keeping: CheckpointSettings;
  readonly #checkpoints: Checkpoints;

  constructor(name: StageName, settings: TrainSettings, options: RunOptions) {
    this.#name = name;
    this.#folder = join(settings.output, name);
    this.#settings = settings;
    this.#options = options;
    this.#keeping = { ...settings.checkpoints, ...settings.stages[name]?.checkpoints };
    this.#checkpoints = new Checkpoints(join(this.#folder, 'checkpoints'), this.#keeping.keep);
  }

  async run(): Promise<void> {
    await sweep(this.#folder);
    const from = await this.#checkpoints.latest();
    const open = await openStage(this.#name, this.#folder, this.#settings, this.#options);
    try {
      const { stage, workplace } = open;
      if (from !== undefined) {
        await this.#checkpoints.load(from, workplace.trainer);
        stage.restore(from.state);
      }
      this.#options.log.begin(this.#name, stage.steps, from?.step ?? -1);
      const end = await this.#loop(open, from);
      const { step, best } = end;
      const result = this.#keeping.result === 'best' && best !== null ? best.step : step;
      await this.#checkpoints.publish(result, join(this.#folder, 'model'));
      this.#options.log.note(
        `${this.#name}: done; the model of step ${result} is ${join(this.#folder, 'model')}`,
      );
    } finally {
      await closeAll(open.workplace);
    }
  }

  async #loop(open: OpenStage, from: LoopState | undefined): Promise<LoopState> {
    const { log, signal } = this.#options;
    const { stage } = open;
    let state: LoopState = from ?? { stage: this.#name, step: 0, state: stage.state(), best: null };
    if (from === undefined) await this.#validate(open, 0);
    while (state.step < stage.steps && !state.finished) {
      const started = performance.now();
      const report = await stage.step(state.step);
      const step = state.step + 1;
      const over = step === stage.steps || report.finished !== undefined;
      log.step(step, { ...report.metrics, ...timing(report, performance.now() - started) }, report.traces);
      for (const note of report.notes) log.note(`${this.#name} ${step}: ${note}`);
      if (report.finished !== undefined)
        log.note(`${this.#name} ends after step ${step}: ${report.finished}`);

      let { best } = state;
      const every = open.validation?.settings.every ?? 0;
      if (over || (every > 0 && step % every === 0)) {
        const value = await this.#validate(open, step);
        const { metric } = this.#keeping;
        if (value !== undefined && (best?.metric !== metric || value > best.value))
          best = { step, metric, value };
      }
      state = { stage: this.#name, step, state: stage.state(), best, finished: over };
      if (over || signal.aborted || best?.step === step || step % this.#keeping.every === 0)
        await this.#checkpoints.save(state, open.workplace.trainer, open.modelFolder);
      if (over) break;
      if (signal.aborted)
        throw new Interrupted(
          `${this.#name}: ended after step ${step}, with a checkpoint; --resume goes on from there`,
        );
    }
    return state;
  }

  /** The metric that tells which checkpoint is best; undefined where there is nothing to validate on. */
  async #validate({ validation }: OpenStage, step: number): Promise<number | undefined> {
    if (validation === undefined) return undefined;
    const started = performance.now();
    const { metrics, traces } = await validate(validation.parts, validation.settings);
    const validation_s = (performance.now() - started) / 1000;
    this.#options.log.validation(step, { ...metrics, validation_s }, traces);
    return metrics[this.#keeping.metric];
  }
}

/** Seconds of a step and what they went to, and tokens a second. */
function timing({ metrics, phases }: StepReport, total: number): Record<string, number> {
  const { rollout, forward, backward, update } = phases;
  const other = Math.max(0, total - rollout - forward - backward - update);
  const rate = (tokens: number | undefined, ms: number) =>
    tokens === undefined || ms === 0 ? undefined : (1000 * tokens) / ms;
  const rates = {
    rollout_tokens_per_s: rate(metrics.rollout_tokens, rollout),
    train_tokens_per_s: rate(metrics.rows, forward + backward),
    tokens_per_s: rate(metrics.rollout_tokens ?? metrics.rows, total),
  };
  return {
    step_s: total / 1000,
    rollout_s: rollout / 1000,
    forward_s: forward / 1000,
    backward_s: backward / 1000,
    update_s: update / 1000,
    other_s: other / 1000,
    other_share: other / total,
    ...Object.fromEntries(Object.entries(rates).filter(([, value]) => value !== undefined)),
  } as Record<string, number>;
}
