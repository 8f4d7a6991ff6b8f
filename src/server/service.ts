/** The life of the model behind the server: loading, ready, draining; and every request that runs on it. */
import { setMaxListeners } from 'node:events';
import { EngineError } from '../engine/errors.js';
import type { Engine, EngineEvent, EngineRequest } from '../engine/types.js';
import { ApiError } from './errors.js';
import { Metrics } from './metrics.js';
import type { ServedModel } from './model.js';

/** `failed`: what the model runs on is lost, and every request ends with that. */
export type State = 'loading' | 'ready' | 'draining' | 'failed';

/** For cancelled requests to tell their clients. */
const graceMs = 1000;

export class Service {
  readonly metrics = new Metrics(() => this.#model?.engine.stats());
  #state: State = 'loading';
  #model: ServedModel | undefined;
  #active = 0;
  #idle: (() => void) | undefined;
  /** Of the requests that run. */
  readonly #cancels = new Set<() => void>();
  /** The time to drain is over. */
  #cut = false;
  /** Aborted when no request runs any more. */
  readonly #drained = new AbortController();

  constructor() {
    // Every WebSocket listens.
    setMaxListeners(0, this.#drained.signal);
  }

  get state(): State {
    return this.#state;
  }

  /** Requests that have no complete answer yet. */
  get active(): number {
    return this.#active;
  }

  /** Aborts when a stopping server has no request left. */
  get drained(): AbortSignal {
    return this.#drained.signal;
  }

  ready(model: ServedModel): void {
    this.#model = model;
    if (this.#state === 'loading') this.#state = 'ready';
  }

  /** The model; throws where the server takes no requests. */
  get model(): ServedModel {
    if (this.#state === 'draining') throw new ApiError('draining', 'the server is shutting down');
    if (this.#model === undefined) throw new ApiError('loading', 'the model is still loading');
    return this.#model;
  }

  /** Keeps a stopping server going until the returned function is called. */
  hold(): () => void {
    let held = true;
    this.#active++;
    return () => {
      if (held && --this.#active === 0) this.#idle?.();
      held = false;
    };
  }

  /**
   * Runs a request: `take` gets the events of each engine step, and what it throws ends the request. Aborting `signal`
   * cancels. Whoever holds the server may run requests while it drains. Throws an EngineError, or an ApiError where it
   * was cancelled.
   */
  async run(
    engine: Engine,
    request: EngineRequest,
    signal: AbortSignal,
    take: (events: EngineEvent[]) => void,
  ): Promise<void> {
    const controller = new AbortController();
    let cancelled = false;
    const cancel = () => {
      cancelled = true;
      controller.abort();
    };
    if (signal.aborted || this.#cut) throw this.#cancelled();
    const watch = this.metrics.watch();
    const checked = (events: EngineEvent[]) => {
      watch.step(events);
      // The events need not say so: a request that still waited has no choices to end.
      if (cancelled) throw this.#cancelled();
      take(events);
    };
    signal.addEventListener('abort', cancel);
    this.#cancels.add(cancel);
    try {
      await engine.submit(request, checked, controller.signal);
      watch.end();
    } catch (error) {
      const lost = error instanceof EngineError && error.code === 'unavailable';
      if (lost && this.#state === 'ready') this.#state = 'failed';
      throw error;
    } finally {
      this.#cancels.delete(cancel);
      signal.removeEventListener('abort', cancel);
    }
  }

  #cancelled(): ApiError {
    return this.#cut
      ? new ApiError('draining', 'the server shut down before the end')
      : new ApiError('cancelled', 'the request was cancelled');
  }

  /** Takes no more requests, waits for the running ones, cancels those that take longer than `seconds`. */
  async drain(seconds: number): Promise<void> {
    this.#state = 'draining';
    if (!(await this.#empty(seconds * 1000))) {
      this.#cut = true;
      for (const cancel of this.#cancels) cancel();
      await this.#empty(graceMs);
    }
    this.#drained.abort();
  }

  /** Whether everything ends within `ms`. */
  async #empty(ms: number): Promise<boolean> {
    if (this.#active > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#idle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.#active === 0;
  }

  async close(): Promise<void> {
    await this.#model?.engine.close();
  }
}
