/** Server-sent events: framing, the bound on what waits unsent, and closing, for every stream of the server. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { ApiError, toApiError } from './errors.js';

/** Time for a slow reader to take what is already on its way, before the connection is cut. */
const graceMs = 5000;

export interface StreamOptions {
  /** Unsent bytes at which the reader is cut off. */
  bound: number;
  /** Called when that happens. */
  onSlowReader: () => void;
}

/**
 * Answers with `frames`, each one event, then `[DONE]`. The status is sent with the first frame, so that an error
 * before it is a plain HTTP error (thrown); one after it becomes an event, and the stream ends.
 */
export async function sendEvents(
  reply: FastifyReply,
  frames: AsyncGenerator<object>,
  options: StreamOptions,
): Promise<void> {
  const first = await frames.next();
  reply.hijack();
  const writer = new EventWriter(reply.raw, options.bound);
  writer.open(reply.getHeaders() as OutgoingHttpHeaders);
  try {
    if (!first.done) writer.send(first.value);
    for await (const frame of frames) writer.send(frame);
    writer.end('data: [DONE]\n\n');
  } catch (error) {
    const failure = toApiError(error);
    if (failure.code === 'slow_reader') options.onSlowReader();
    if (failure.code === 'internal_error') reply.log.error(error);
    writer.fail(failure);
  } finally {
    // Where sending the first frame threw, the loop that would have ended the generator was never entered.
    await frames.return(undefined);
  }
}

class EventWriter {
  readonly #raw: ServerResponse;
  readonly #bound: number;

  constructor(raw: ServerResponse, bound: number) {
    this.#raw = raw;
    this.#bound = bound;
  }

  open(headers: OutgoingHttpHeaders): void {
    this.#raw.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      // Proxies that buffer responses would hold events back.
      'x-accel-buffering': 'no',
    });
  }

  /** Throws where too much waits unsent. */
  send(frame: object): void {
    if (this.#raw.destroyed) return;
    this.#raw.write(event(frame));
    if (this.#raw.writableLength <= this.#bound) return;
    throw new ApiError(
      'slow_reader',
      `more than ${this.#bound} bytes of this stream wait unread; it ends here`,
    );
  }

  /** Ends with an error and closes the connection; a reader that does not take it in time is cut off all the same. */
  fail(error: ApiError): void {
    const { socket } = this.#raw;
    this.end(event(error.body));
    socket?.destroySoon();
    const timer = setTimeout(() => socket?.destroy(), graceMs);
    timer.unref();
    socket?.once('close', () => clearTimeout(timer));
  }

  end(last: string): void {
    if (!this.#raw.writableEnded && !this.#raw.destroyed) this.#raw.end(last);
  }
}

/** JSON has no raw newline, so that one data line always holds the frame. */
function event(frame: object): string {
  return `data: ${JSON.stringify(frame)}\n\n`;
}
