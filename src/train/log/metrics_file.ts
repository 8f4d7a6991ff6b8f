/** metrics.jsonl: a line a record, appended as they come. */
import { appendFileSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';

export interface MetricsRecord {
  stage: string;
  kind: 'train' | 'validation';
  /** Steps of the stage that are done; 0: before the first. */
  step: number;
  /** Seconds since 1970. */
  time: number;
  metrics: Record<string, number>;
}

export class MetricsFile {
  readonly #path: string;
  readonly records: MetricsRecord[] = [];

  /** Reads what is there; a last line that was cut off is removed. */
  constructor(path: string) {
    this.#path = path;
    for (const line of this.#lines()) {
      const { stage, kind, step, time, ...metrics } = JSON.parse(line);
      this.records.push({ stage, kind, step, time, metrics });
    }
  }

  append(record: MetricsRecord): void {
    this.records.push(record);
    const { metrics, ...head } = record;
    appendFileSync(this.#path, `${JSON.stringify({ ...head, ...metrics })}\n`);
  }

  /** Forgets what a stage did after a step: it will be done again. */
  rewind(stage: string, step: number): void {
    const kept = this.records.map((record) => record.stage !== stage || record.step <= step);
    if (!kept.includes(false)) return;
    const lines = this.#lines().filter((_, i) => kept[i]);
    writeFileSync(`${this.#path}.unfinished`, lines.map((line) => `${line}\n`).join(''));
    renameSync(`${this.#path}.unfinished`, this.#path);
    this.records.splice(0, Infinity, ...this.records.filter((_, i) => kept[i]));
  }

  #lines(): string[] {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const lines = text.split('\n');
    // what follows the last newline was being written when the program was killed
    if (lines.pop() !== '') this.#keep(lines);
    return lines;
  }

  #keep(lines: readonly string[]): void {
    truncateSync(this.#path, Buffer.byteLength(lines.map((line) => `${line}\n`).join('')));
  }
}
