/** A histogram that every token of every stream can afford: prom-client's own takes longer over it than all else. */
import type { Metric, Registry } from 'prom-client';

const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** In seconds. */
export class Durations {
  readonly name: string;
  readonly #help: string;
  /** Within each bound and beyond the one before it; the last: beyond all. */
  readonly #counts = new Array<number>(bounds.length + 1).fill(0);
  #sum = 0;

  constructor(name: string, help: string, registry: Registry) {
    this.name = name;
    this.#help = help;
    registry.registerMetric(this as unknown as Metric);
  }

  observe(seconds: number): void {
    let i = 0;
    while (seconds > (bounds[i] as number)) i++;
    (this.#counts[i] as number)++;
    this.#sum += seconds;
  }

  /** As a registry reads any metric. */
  async get() {
    let count = 0;
    const buckets = [...bounds, '+Inf'].map((le, i) => {
      count += this.#counts[i] as number;
      return { metricName: `${this.name}_bucket`, labels: { le }, value: count };
    });
    const values = [
      ...buckets,
      { metricName: `${this.name}_sum`, labels: {}, value: this.#sum },
      { metricName: `${this.name}_count`, labels: {}, value: count },
    ];
    return { name: this.name, help: this.#help, type: 'histogram', values, aggregator: 'sum' };
  }
}
