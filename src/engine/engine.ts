import { addon, type NativeEngine, type NativeEvent } from './addon.js';
import { engineError } from './errors.js';
import { EventQueue } from './stream.js';
import type {
  Engine,
  EngineEvent,
  EngineRequest,
  EngineStats,
  LoadOptions,
  ModelInfo,
  Vocabulary,
} from './types.js';

export { EngineError } from './errors.js';

interface Live {
  queue: EventQueue;
  stop: string[];
  detach: () => void;
}

class LoadedEngine implements Engine {
  readonly info: ModelInfo;
  readonly #native: NativeEngine;
  readonly #live: Map<number, Live>;
  #nextId = 1;
  #closed: Promise<void> | undefined;

  constructor(native: NativeEngine, live: Map<number, Live>) {
    this.#native = native;
    this.#live = live;
    this.info = native.info();
  }

  submit(request: EngineRequest, signal?: AbortSignal): AsyncIterable<EngineEvent[]> {
    signal?.throwIfAborted();
    const id = this.#nextId++;
    try {
      this.#native.submit(id, request);
    } catch (error) {
      throw engineError(error);
    }
    const cancel = () => {
      if (this.#live.has(id)) this.#native.cancel(id);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    const detach = () => signal?.removeEventListener('abort', cancel);
    const queue = new EventQueue(cancel);
    this.#live.set(id, { queue, stop: request.stop, detach });
    return queue;
  }

  stats(): EngineStats {
    return this.#native.stats();
  }

  async checkIntegrity(): Promise<void> {
    try {
      await this.#native.checkIntegrity();
    } catch (error) {
      throw engineError(error);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#native.close().then(() => {
      const error: EngineEvent = { type: 'failed', code: 'unavailable', message: 'the engine was closed' };
      for (const { queue, detach } of this.#live.values()) {
        detach();
        queue.push([error]);
      }
      this.#live.clear();
    });
    return this.#closed;
  }
}

/** One array of events for each request that a wake-up brings news of, in order. */
function deliver(events: NativeEvent[], live: Map<number, Live>): void {
  const batches = new Map<number, EngineEvent[]>();
  for (const event of events) {
    const { request, stopStringIndex, ...rest } = event;
    const own: EngineEvent = rest as EngineEvent;
    if (own.type === 'choice_finished' && stopStringIndex !== undefined) {
      const text = live.get(request)?.stop[stopStringIndex];
      if (text !== undefined) own.stopString = text;
    }
    const batch = batches.get(request);
    if (batch) batch.push(own);
    else batches.set(request, [own]);
  }
  for (const [id, batch] of batches) {
    const target = live.get(id);
    if (!target) continue;
    const last = batch.at(-1)?.type;
    if (last === 'finished' || last === 'failed') {
      target.detach();
      live.delete(id);
    }
    target.queue.push(batch);
  }
}

/**
 * Loads a model directory off the JavaScript thread.
 *
 * @param onProgress bytes of weights packed so far, and in all.
 * @throws EngineError invalid_checkpoint, invalid_request (settings the machine can't meet) or out_of_memory.
 */
export async function loadEngine(
  options: LoadOptions,
  vocabulary: Vocabulary,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Engine> {
  const live = new Map<number, Live>();
  try {
    const native = await addon().load(options, vocabulary, onProgress, (events) => deliver(events, live));
    return new LoadedEngine(native, live);
  } catch (error) {
    throw engineError(error);
  }
}
