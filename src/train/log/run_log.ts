/** All that a run tells, and where it goes. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Trace } from '../stage.js';
import { MetricsFile, type MetricsRecord } from './metrics_file.js';

/** What a person watches: lines of a log, or a terminal. */
export interface Display {
  note(text: string): void;
  /** `done`: of `total`; both of the activity's own unit. */
  progress(activity: string, done: number, total: number): void;
  record(record: MetricsRecord, total: number): void;
  close(): void;
}

export class RunLog {
  readonly #metrics: MetricsFile;
  readonly #display: Display;
  #stage = '';
  #steps = 0;

  constructor(folder: string, display: Display) {
    mkdirSync(folder, { recursive: true });
    this.#metrics = new MetricsFile(join(folder, 'metrics.jsonl'));
    this.#display = display;
  }

  note(text: string): void {
    this.#display.note(text);
  }

  progress(activity: string, done: number, total: number): void {
    this.#display.progress(activity, done, total);
  }

  /** `done`: steps that an earlier run did; -1: nothing, not even the validation before the first. */
  begin(stage: string, steps: number, done: number): void {
    this.#stage = stage;
    this.#steps = steps;
    this.#metrics.rewind(stage, done);
  }

  step(step: number, metrics: Record<string, number>): void {
    this.#record('train', step, metrics);
  }

  validation(step: number, metrics: Record<string, number>): void {
    this.#record('validation', step, metrics);
  }

  traces(_step: number, _traces: readonly Trace[]): void {}

  close(): void {
    this.#display.close();
  }

  #record(kind: MetricsRecord['kind'], step: number, metrics: Record<string, number>): void {
    const record = { stage: this.#stage, kind, step, time: Math.round(Date.now()) / 1000, metrics };
    this.#metrics.append(record);
    this.#display.record(record, this.#steps);
  }
}
