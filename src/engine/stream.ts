import type { EngineEvent } from './types.js';

/** The events of one request, queued between the engine's steps and their reader. */
export class EventQueue implements AsyncIterable<EngineEvent[]> {
  readonly #cancel: () => void;
  #batches: EngineEvent[][] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  /** `cancel` tells the engine to end the request; it must bear being called more than once. */
  constructor(cancel: () => void) {
    this.#cancel = cancel;
  }

  push(batch: EngineEvent[]): void {
    if (this.#ended) return;
    this.#batches.push(batch);
    const last = batch.at(-1)?.type;
    if (last === 'finished' || last === 'failed') this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<EngineEvent[]> {
    try {
      for (;;) {
        const batch = this.#batches.shift();
        if (batch) {
          yield batch;
        } else if (this.#ended) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
        }
      }
    } finally {
      if (!this.#ended) this.#cancel();
    }
  }
}
