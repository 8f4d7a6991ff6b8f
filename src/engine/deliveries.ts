/** The way of events from the engine's steps to the requests that they belong to. */
import { EngineError } from './errors.js';
import { EventReader, type Failure } from './event_reader.js';
import type { EngineEvent } from './types.js';

type Take = (events: EngineEvent[]) => void;

interface Delivery {
  id: number;
  stop: readonly string[];
  take: Take;
  resolve: () => void;
  reject: (error: unknown) => void;
  /** Of the batch at hand. */
  news: EngineEvent[];
  failure: Failure | undefined;
}

export class Deliveries {
  readonly #open = new Map<number, Delivery>();

  /**
   * Hands the events of a request to `take`, those of a step at once, until it ends; rejects where it fails, or with
   * what `take` threw. `stop`: its stop strings.
   */
  to(id: number, stop: readonly string[], take: Take): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#open.set(id, { id, stop, take, resolve, reject, news: [], failure: undefined });
    });
  }

  /**
   * Takes a batch of the addon's: the events of a step, or of several where this thread was busy. Never throws: what
   * goes wrong with one request ends that one, and where the batch can't be read, all.
   */
  deliver(numbers: Float64Array, text: string): void {
    const touched = new Set<Delivery>();
    try {
      const reader = new EventReader(numbers, text);
      while (!reader.done) {
        const delivery = this.#open.get(reader.request());
        const event = reader.event(delivery?.stop ?? []);
        // No one waits for it any more.
        if (delivery === undefined) continue;
        touched.add(delivery);
        if (event.type === 'failed') delivery.failure = event;
        else delivery.news.push(event);
      }
    } catch (cause) {
      // Whose events are lost can't be told.
      this.endAll(new EngineError('internal', "the engine's events can't be read", { cause }));
      return;
    }
    for (const delivery of touched) this.#hand(delivery);
  }

  endAll(error: EngineError): void {
    for (const delivery of this.#open.values()) delivery.reject(error);
    this.#open.clear();
  }

  #hand(delivery: Delivery): void {
    const { id, take, resolve, reject, news, failure } = delivery;
    delivery.news = [];
    try {
      if (failure) throw new EngineError(failure.code, failure.message);
      take(news);
      if (news.at(-1)?.type !== 'finished') return;
      resolve();
    } catch (error) {
      reject(error);
    }
    this.#open.delete(id);
  }
}
