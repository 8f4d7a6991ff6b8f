/** What Prometheus reads. Engine figures are taken at the time of the scrape; the rest is counted as it happens. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { EngineEvent, EngineStats } from '../engine/types.js';
import { Durations } from './durations.js';

export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #streamsCut: Counter;
  readonly #firstToken: Durations;
  readonly #interToken: Durations;
  readonly #endToEnd: Durations;

  /** `stats`: the engine's, undefined before it is loaded. */
  constructor(stats: () => EngineStats | undefined) {
    const registers = [this.registry];
    // By default a timer wakes this thread a hundred times a second, and the engine needs every processor.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 });
    this.#requests = new Counter({
      name: 'npr_http_requests_total',
      help: 'HTTP requests by route and status',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#streamsCut = new Counter({
      name: 'npr_slow_readers_total',
      help: 'Streams cut off because their reader was too slow',
      registers,
    });
    const durations = (name: string, help: string) => new Durations(name, help, this.registry);
    this.#firstToken = durations(
      'npr_time_to_first_token_seconds',
      'From submitting a request to its first token',
    );
    this.#interToken = durations(
      'npr_inter_token_seconds',
      'Between the engine steps that add to one request',
    );
    this.#endToEnd = durations(
      'npr_request_seconds',
      'From submitting a request to its end, where it was neither refused nor cancelled and did not fail',
    );

    const gauge = (name: string, help: string, read: (stats: EngineStats) => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          const now = stats();
          if (now) this.set(read(now));
        },
      });
    gauge('npr_requests_running', 'Requests that run', (now) => now.running);
    gauge('npr_requests_waiting', 'Requests that wait', (now) => now.waiting);
    gauge('npr_branches_running', 'Branches that decode', (now) => now.branches);
    gauge('npr_kv_slots', 'KV slots, one a token', (now) => now.slots.total);
    gauge('npr_kv_slots_free', 'KV slots that hold nothing', (now) => now.slots.free);
    gauge('npr_kv_slots_cached', 'KV slots that hold prefixes no request uses', (now) => now.slots.cached);
    gauge('npr_kv_slots_used', 'KV slots of running requests', (now) => now.slots.used);

    const total = (name: string, help: string, key: keyof EngineStats['totals']) =>
      new Counter({
        name,
        help,
        registers,
        collect() {
          const now = stats();
          this.reset();
          if (now) this.inc(now.totals[key]);
        },
      });
    total('npr_engine_requests_total', 'Requests that the engine took', 'requests');
    total('npr_engine_steps_total', 'Engine steps', 'steps');
    total('npr_prompt_tokens_total', 'Tokens of prompts', 'promptTokens');
    total('npr_prefix_cache_hit_tokens_total', 'Tokens of prompts found in the prefix cache', 'cachedTokens');
    total('npr_completion_tokens_total', 'Tokens generated, over all branches', 'completionTokens');
    total('npr_forced_tokens_total', 'Tokens that the structure demanded', 'forcedTokens');
    total('npr_blocks_total', 'Parallel blocks opened', 'blocks');
    total('npr_branches_total', 'Branches opened', 'branches');
    total('npr_preemptions_total', 'Requests that gave their KV slots up for a while', 'preemptions');
  }

  request(route: string, status: number): void {
    this.#requests.inc({ route, status: String(status) });
  }

  streamCut(): void {
    this.#streamsCut.inc();
  }

  /** Watches one request's events; the clock starts now. `end`: it has run to its own end. */
  watch(): { step(events: readonly EngineEvent[]): void; end(): void } {
    const start = performance.now();
    let last: number | undefined;
    return {
      step: (events) => {
        if (!events.some(addsTokens)) return;
        const now = performance.now();
        if (last === undefined) this.#firstToken.observe((now - start) / 1000);
        else this.#interToken.observe((now - last) / 1000);
        last = now;
      },
      end: () => this.#endToEnd.observe((performance.now() - start) / 1000),
    };
  }
}

function addsTokens(event: EngineEvent): boolean {
  return event.type === 'delta' && event.tokens.length > 0;
}
