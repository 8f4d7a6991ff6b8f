/** Examples without end: epoch after epoch, each in an order of its own. */
import { permutation, seedOf } from './random.js';

export class EpochOrder {
  readonly #size: number;
  readonly #seed: (string | number)[];
  #epoch = -1;
  #order: Uint32Array = new Uint32Array();

  /** `size`: of an epoch, at least 1. */
  constructor(size: number, ...seed: (string | number)[]) {
    if (size < 1) throw new RangeError('an order of no examples');
    this.#size = size;
    this.#seed = seed;
  }

  /** The example at a place of the whole sequence, from 0. */
  at(place: number): number {
    const epoch = Math.floor(place / this.#size);
    if (epoch !== this.#epoch) {
      this.#order = permutation(this.#size, seedOf(...this.#seed, epoch));
      this.#epoch = epoch;
    }
    return this.#order[place % this.#size] as number;
  }
}
