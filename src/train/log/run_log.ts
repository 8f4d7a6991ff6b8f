/** All that a run tells, and where it goes. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { MetricsFile, type MetricsRecord } from './metrics_file.js';
import { report } from './report.js';
import { EventFile } from './tensorboard.js';
import { type Trace, writeTraces } from './trace_files.js';

/** What a person watches: lines of a log, or a terminal. */
export interface Display {
  /** `done`: steps that an earlier part of the run did. */
  begin(stage: string, total: number, done: number): void;
  note(text: string): void;
  /** `done`: of `total`; both of the activity's own unit. */
  progress(activity: string, done: number, total: number): void;
  record(record: MetricsRecord, total: number): void;
  close(): void;
}

/** Writes `metrics.jsonl`, `tensorboard/`, `traces/` and `report.html` into the run's folder. */
export class RunLog {
  readonly #folder: string;
  readonly #settings: object;
  readonly #display: Display;
  readonly #metrics: MetricsFile;
  #events: EventFile | undefined;
  #stage = '';
  #steps = 0;

  /** `settings`: of the run, for the report. */
  constructor(folder: string, settings: object, display: Display) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
    this.#settings = settings;
    this.#display = display;
    this.#metrics = new MetricsFile(join(folder, 'metrics.jsonl'));
  }

  note(text: string): void {
    this.#display.note(text);
  }

  progress(activity: string, done: number, total: number): void {
    this.#display.progress(activity, done, total);
  }

  /** `done`: steps that an earlier part of the run did; -1: nothing, not even the validation before the first. */
  begin(stage: string, steps: number, done: number): void {
    this.#stage = stage;
    this.#steps = steps;
    this.#metrics.rewind(stage, done);
    const own = this.#metrics.records.filter((record) => record.stage === stage);
    this.#events = new EventFile(join(this.#folder, 'tensorboard', stage), own);
    this.#display.begin(stage, steps, Math.max(0, done));
  }

  step(step: number, metrics: Record<string, number>, traces: readonly Trace[]): void {
    this.#record('train', step, metrics, traces);
  }

  validation(step: number, metrics: Record<string, number>, traces: readonly Trace[]): void {
    this.#record('validation', step, metrics, traces);
    this.#report();
  }

  close(): void {
    this.#report();
    this.#display.close();
  }

  #record(
    kind: MetricsRecord['kind'],
    step: number,
    metrics: Record<string, number>,
    traces: readonly Trace[],
  ): void {
    const record = { stage: this.#stage, kind, step, time: Math.round(Date.now()) / 1000, metrics };
    this.#metrics.append(record);
    this.#events?.append(record);
    const name = `${kind === 'train' ? 'step' : kind}-${String(step).padStart(6, '0')}`;
    writeTraces(join(this.#folder, 'traces', this.#stage), name, traces);
    this.#display.record(record, this.#steps);
  }

  #report(): void {
    const { records } = this.#metrics;
    if (records.length === 0) return;
    const path = join(this.#folder, 'report.html');
    writeFileSync(
      `${path}.unfinished`,
      report(`Training run ${basename(this.#folder)}`, records, this.#settings),
    );
    renameSync(`${path}.unfinished`, path);
  }
}
