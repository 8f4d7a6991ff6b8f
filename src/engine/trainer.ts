/** The native trainer as the rest of the program sees it: calls in order, and its faults as EngineErrors. */
import { engineError } from './errors.js';
import type { Loss, PassResult, StepResult, Trainer, TrainGroup } from './trainer_types.js';

export class NativeTrainer implements Trainer {
  readonly #native: Trainer;
  /** Settles with the latest call, and never rejects. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(native: Trainer) {
    this.#native = native;
  }

  accumulate(groups: TrainGroup[], loss: Loss): Promise<PassResult> {
    return this.#next((native) => native.accumulate(groups, loss));
  }

  score(groups: TrainGroup[]): Promise<PassResult> {
    return this.#next((native) => native.score(groups));
  }

  step(learningRate: number): Promise<StepResult> {
    return this.#next((native) => native.step(learningRate));
  }

  saveWeights(directory: string): Promise<void> {
    return this.#next((native) => native.saveWeights(directory));
  }

  saveState(file: string): Promise<void> {
    return this.#next((native) => native.saveState(file));
  }

  loadState(file: string): Promise<void> {
    return this.#next((native) => native.loadState(file));
  }

  close(): Promise<void> {
    return this.#next((native) => native.close());
  }

  /** Calls once the call before it has settled: the threads below would take calls in any order. */
  #next<T>(call: (native: Trainer) => Promise<T>): Promise<T> {
    const called = this.#last.then(async () => {
      try {
        return await call(this.#native);
      } catch (error) {
        throw engineError(error);
      }
    });
    this.#last = called.catch(() => {});
    return called;
  }
}
