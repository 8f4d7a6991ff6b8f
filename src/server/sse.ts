/** Server-sent events: framing and closing, for every stream of the server. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { Backlog } from './backlog.js';
import type { Context } from './context.js';
import { type ApiError, toApiError } from './errors.js';

/** Time for a slow reader to take what is already on its way, before the connection is cut. */
const graceMs = 5000;

/**
 * Answers with the events, each the JSON of one, that `produce` sends until it returns, then `[DONE]`. The status goes
 * out with the first, so that an error before it is a plain HTTP error (thrown); one after it becomes an event, and the
 * stream ends. `send` throws where the reader is too slow.
 */
export async function sendEvents(
  reply: FastifyReply,
  { service, settings }: Context,
  produce: (send: (events: readonly string[]) => void) => Promise<void>,
): Promise<void> {
  const writer = new EventWriter(reply, settings.streamBuffer);
  try {
    await produce((events) => writer.send(events));
    writer.end('data: [DONE]\n\n');
  } catch (error) {
    if (!writer.opened) throw error;
    const failure = toApiError(error);
    if (failure.code === 'slow_reader') service.metrics.streamCut();
    if (failure.code === 'internal_error') reply.log.error(error);
    writer.fail(failure);
  }
}

class EventWriter {
  readonly #reply: FastifyReply;
  readonly #raw: ServerResponse;
  readonly #backlog: Backlog;

  constructor(reply: FastifyReply, bound: number) {
    this.#reply = reply;
    this.#raw = reply.raw;
    this.#backlog = new Backlog(bound);
  }

  get opened(): boolean {
    return this.#raw.headersSent;
  }

  send(events: readonly string[]): void {
    if (events.length === 0 || this.#over) return;
    let frames = '';
    for (const event of events) frames += frame(event);
    const size = this.#backlog.add(frames, this.#raw.writableLength);
    const { socket } = this.#raw;
    if (!this.opened || socket === null || !this.#raw.chunkedEncoding) {
      this.#open();
      this.#raw.write(frames);
    } else {
      // One chunk of the body as `write` would make it, with four calls of the socket and in more than twice the time.
      socket.write(`${size.toString(16)}\r\n${frames}\r\n`);
    }
  }

  /** Ends with an error and closes the connection; a reader that does not take it in time is cut off all the same. */
  fail(error: ApiError): void {
    const { socket } = this.#raw;
    this.end(frame(JSON.stringify(error.body)));
    socket?.destroySoon();
    const timer = setTimeout(() => socket?.destroy(), graceMs);
    timer.unref();
    socket?.once('close', () => clearTimeout(timer));
  }

  end(last: string): void {
    if (this.#over) return;
    this.#open();
    this.#raw.end(last);
  }

  get #over(): boolean {
    return this.#raw.writableEnded || this.#raw.destroyed;
  }

  #open(): void {
    if (this.opened) return;
    this.#reply.hijack();
    this.#raw.writeHead(200, {
      ...(this.#reply.getHeaders() as OutgoingHttpHeaders),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      // Proxies that buffer responses would hold events back.
      'x-accel-buffering': 'no',
    });
  }
}

/** JSON has no raw newline, so that one data line always holds the frame. */
function frame(json: string): string {
  return `data: ${json}\n\n`;
}
