import { addon, type NativeEngine } from './addon.js';
import { Deliveries } from './deliveries.js';
import { EngineError, engineError } from './errors.js';
import { NativeTrainer } from './trainer.js';
import type { Trainer, TrainerOptions } from './trainer_types.js';
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

class LoadedEngine implements Engine {
  readonly info: ModelInfo;
  readonly #native: NativeEngine;
  readonly #deliveries: Deliveries;
  #nextId = 1;
  #closed: Promise<void> | undefined;

  constructor(native: NativeEngine, deliveries: Deliveries) {
    this.#native = native;
    this.#deliveries = deliveries;
    this.info = native.info();
  }

  async submit(
    request: EngineRequest,
    take: (events: EngineEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    signal?.throwIfAborted();
    const id = this.#nextId++;
    try {
      this.#native.submit(id, request);
    } catch (error) {
      throw engineError(error);
    }
    const cancel = () => this.#native.cancel(id);
    signal?.addEventListener('abort', cancel);
    try {
      await this.#deliveries.to(id, request.stop, take);
    } catch (error) {
      cancel(); // the engine may not know yet
      throw error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  stats(): EngineStats {
    try {
      return this.#native.stats();
    } catch (error) {
      throw engineError(error);
    }
  }

  async trainer(options: TrainerOptions): Promise<Trainer> {
    try {
      return new NativeTrainer(await this.#native.trainer(options));
    } catch (error) {
      throw engineError(error);
    }
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
      this.#deliveries.endAll(new EngineError('unavailable', 'the engine was closed'));
    });
    return this.#closed;
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
  const deliveries = new Deliveries();
  try {
    const native = await addon().load(options, vocabulary, onProgress, (numbers, text) =>
      deliveries.deliver(numbers, text),
    );
    return new LoadedEngine(native, deliveries);
  } catch (error) {
    throw engineError(error);
  }
}
