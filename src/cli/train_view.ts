/** A training run on a terminal: what matters stays as lines, and the last line shows how far it is. */
import { type Lines, summary } from '../train/log/lines.js';
import type { MetricsRecord } from '../train/log/metrics_file.js';
import type { Display } from '../train/log/run_log.js';
import { cells, printable } from './layout.js';

export interface Screen {
  write(text: string): void;
  readonly columns: number;
}

export class TrainView implements Display {
  readonly #screen: Screen;
  /** All that the log has. */
  readonly #file: Lines;
  readonly #now: () => number;
  #started = 0;
  #first = 0;

  /** `file` takes the plain lines; `now`: milliseconds. */
  constructor(screen: Screen, file: Lines, now = () => performance.now()) {
    this.#screen = screen;
    this.#file = file;
    this.#now = now;
  }

  begin(stage: string, total: number, done: number): void {
    this.#file.begin(stage, total, done);
    this.#started = this.#now();
    this.#first = done;
  }

  note(text: string): void {
    this.#file.note(text);
    this.#line(text);
  }

  progress(activity: string, done: number, total: number): void {
    this.#file.progress(activity, done, total);
    this.#bar(activity, done, total, '');
  }

  record(record: MetricsRecord, total: number): void {
    this.#file.record(record, total);
    const { stage, kind, step, metrics } = record;
    if (kind === 'validation') this.#line(`${stage} ${step}/${total} validation: ${summary(metrics)}`);
    const each = (this.#now() - this.#started) / (step - this.#first);
    const left = step > this.#first ? `  ${duration((each * (total - step)) / 1000)} left` : '';
    this.#bar(stage, step, total, `${left}  ${kind === 'train' ? summary(metrics) : ''}`);
  }

  close(): void {
    this.#screen.write('\r\x1b[K');
    this.#file.close();
  }

  #line(text: string): void {
    this.#screen.write(`\r\x1b[K${printable(text)}\n`);
  }

  #bar(name: string, done: number, total: number, rest: string): void {
    const width = 20;
    const filled = total === 0 ? width : Math.round((width * done) / total);
    const bar = '█'.repeat(filled) + '░'.repeat(width - filled);
    this.#screen.write(`\r\x1b[K${cut(`${name} ${bar} ${done}/${total}${rest}`, this.#screen.columns - 1)}`);
  }
}

/** `2 h 5 min`, `3 min 20 s`, `12 s`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

function cut(text: string, width: number): string {
  let line = '';
  for (const character of printable(text)) {
    if (cells(line + character) > width) break;
    line += character;
  }
  return line;
}
