/** A run as plain lines, for a log. */
import type { MetricsRecord } from './metrics_file.js';
import type { Display } from './run_log.js';

/** What a line shows of a step, where the step has it. */
const SHOWN = [
  'loss',
  'reward',
  'accuracy',
  'valid',
  'parallel',
  'branches',
  'tokens',
  'critical_path',
  'entropy',
  'gradient_norm',
  'mismatch',
  'step_s',
];

export class Lines implements Display {
  readonly #write: (line: string) => void;
  /** Of the activity that is being shown, the tenth that was last. */
  #shown = '';

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  begin(stage: string, total: number, done: number): void {
    this.#write(done === 0 ? `${stage}: ${total} steps` : `${stage}: goes on after step ${done} of ${total}`);
  }

  note(text: string): void {
    this.#write(text);
  }

  progress(activity: string, done: number, total: number): void {
    const tenth = `${activity} ${Math.floor((10 * done) / total)}`;
    if (tenth === this.#shown) return;
    this.#shown = tenth;
    this.#write(`${activity}: ${done}/${total}`);
  }

  record({ stage, kind, step, metrics }: MetricsRecord, total: number): void {
    this.#write(
      `${stage} ${step}/${total}${kind === 'validation' ? ' validation' : ''}: ${summary(metrics)}`,
    );
  }

  close(): void {}
}

export function summary(metrics: Record<string, number>): string {
  return SHOWN.filter((name) => metrics[name] !== undefined)
    .map((name) => `${name} ${short(metrics[name] as number)}`)
    .join('  ');
}

/** Four digits at most, where the value is not larger. */
export function short(value: number): string {
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(2);
  return String(Number(value.toPrecision(size >= 1000 ? 6 : 4)));
}
