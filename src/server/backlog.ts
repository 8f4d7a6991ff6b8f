/** The bound on what waits unsent to one reader, for every stream of the server. */
import { ApiError } from './errors.js';

export class Backlog {
  readonly #bound: number;
  #largest = 0;

  /** `bound`: bytes, beside the largest frame: however fast its reader, that one waits until it is sent. */
  constructor(bound: number) {
    this.#bound = bound;
  }

  /** Before a frame is sent, with the bytes that wait already; returns its own. Throws where they are too many. */
  add(frame: string, unsent: number): number {
    if (unsent > this.#bound + this.#largest) {
      throw new ApiError('slow_reader', `${unsent} bytes of this stream wait unread; it ends here`);
    }
    const size = Buffer.byteLength(frame);
    this.#largest = Math.max(this.#largest, size);
    return size;
  }
}
