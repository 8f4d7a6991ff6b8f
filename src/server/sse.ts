/** Server-sent events: framing and closing, for every stream of the server. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { Backlog } from './backlog.js';
import { type ApiError, toApiError } from './errors.js';

/** Time for a slow reader to take what is already on its way, before the connection is cut. */
const graceMs = 5000;

export interface StreamOptions {
  /** Unsent bytes at which the reader is cut off. */
  bound: number;
  /** Called when that happens. */
  onSlowReader: () => void;
}

/**
 * Answers with `steps`, each some events, then `[DONE]`. The status is sent with the first step, so that an error
 * before it is a plain HTTP error (thrown); one after it becomes an event, and the stream ends.
 */
export async function sendEvents(
  reply: FastifyReply,
  steps: AsyncGenerator<object[]>,
  options: StreamOptions,
): Promise<void> {
  const first = await steps.next();
  reply.hijack();
  const writer = new EventWriter(reply.raw, options.bound);
  writer.open(reply.getHeaders() as OutgoingHttpHeaders);
  try {
    if (!first.done) writer.send(first.value);
    for await (const events of steps) writer.send(events);
    writer.end('data: [DONE]\n\n');
  } catch (error) {
    const failure = toApiError(error);
    if (failure.code === 'slow_reader') options.onSlowReader();
    if (failure.code === 'internal_error') reply.log.error(error);
    writer.fail(failure);
  } finally {
    // Where sending the first step threw, the loop that would have ended the generator was never entered.
    await steps.return(undefined);
  }
}

class EventWriter {
  readonly #raw: ServerResponse;
  readonly #backlog: Backlog;

  constructor(raw: ServerResponse, bound: number) {
    this.#raw = raw;
    this.#backlog = new Backlog(bound);
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
  send(events: readonly object[]): void {
    if (this.#raw.destroyed) return;
    const frame = events.map(event).join('');
    this.#backlog.add(frame, this.#raw.writableLength);
    this.#raw.write(frame);
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
function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
