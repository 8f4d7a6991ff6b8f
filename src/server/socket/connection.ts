/** One WebSocket: frames in, the events of its requests out. */
import type { WebSocket } from '@fastify/websocket';
import type { FastifyBaseLogger } from 'fastify';
import { Backlog } from '../backlog.js';
import type { Context } from '../context.js';
import { ApiError, toApiError } from '../errors.js';
import { ChatAssembly } from '../responses/chat.js';
import { ChatRequest } from '../schemas/chat.js';
import { refused } from '../schemas/common.js';
import { SocketFrame } from '../schemas/socket.js';
import { chatRequest } from '../translate.js';
import { validator } from '../validate.js';
import { type SocketEvent, socketEvent } from './events.js';

const checkFrame = validator(SocketFrame);
/** `stream` and its options are accepted and change nothing: a socket always streams, and tells all. */
const checkRequest = validator(ChatRequest, refused);

/** Close codes of RFC 6455, and one of the range left to applications. */
const goingAway = 1001;
const slowReader = 4008;

/** A peer that has not answered a ping by the next is gone: TCP alone would take hours to notice. */
const pingMs = 30_000;

export class ChatSocket {
  readonly #socket: WebSocket;
  readonly #context: Context;
  readonly #log: FastifyBaseLogger;
  readonly #backlog: Backlog;
  readonly #running = new Map<string, AbortController>();

  constructor(socket: WebSocket, context: Context, log: FastifyBaseLogger) {
    this.#socket = socket;
    this.#context = context;
    this.#log = log;
    this.#backlog = new Backlog(context.settings.streamBuffer);
    socket.on('message', (data, isBinary) => this.#receive(String(data), isBinary));
    let alive = true;
    socket.on('pong', () => {
      alive = true;
    });
    const pulse = setInterval(() => {
      if (!alive) return socket.terminate();
      alive = false;
      socket.ping();
    }, pingMs).unref();
    const leave = () => socket.close(goingAway, 'the server is shutting down');
    const { drained } = context.service;
    drained.addEventListener('abort', leave);
    socket.on('close', () => {
      clearInterval(pulse);
      drained.removeEventListener('abort', leave);
      this.#abortAll();
    });
    // A frame beyond the limit or broken framing; the socket closes itself after this.
    socket.on('error', () => this.#abortAll());
  }

  #receive(text: string, isBinary: boolean): void {
    let id: string | undefined;
    try {
      if (isBinary) throw new ApiError('bad_request', 'expected a text frame, got a binary one');
      const json: unknown = JSON.parse(text);
      id = idOf(json);
      const frame = checkFrame(json);
      if (frame.type === 'chat.completion.cancel') this.#cancel(frame.id);
      else this.#create(frame.id, frame.request);
    } catch (error) {
      this.#send({ type: 'error', ...(id === undefined ? {} : { id }), ...toApiError(error).body });
    }
  }

  #create(id: string, request: unknown): void {
    if (this.#running.has(id)) {
      throw new ApiError('invalid_value', `id: a request '${id}' is already running on this socket`, 'id');
    }
    const limit = this.#context.settings.socketRequests;
    if (this.#running.size >= limit) {
      throw new ApiError('too_many_requests', `${limit} requests are running on this socket; no more may`);
    }
    const abort = new AbortController();
    this.#running.set(id, abort);
    void this.#run(id, request, abort.signal);
  }

  #cancel(id: string): void {
    const running = this.#running.get(id);
    if (running === undefined) {
      throw new ApiError('not_found', `id: no request '${id}' is running on this socket`, 'id');
    }
    running.abort();
  }

  /** Never rejects. */
  async #run(id: string, request: unknown, signal: AbortSignal): Promise<void> {
    let seq = 0;
    const release = this.#context.service.hold();
    const send = ({ type, ...fields }: SocketEvent) => this.#send({ type, id, seq: seq++, ...fields });
    try {
      const { service, settings } = this.#context;
      const { model } = service;
      const body = checkRequest(request);
      const translated = await chatRequest(body, model, settings);
      const assembly = new ChatAssembly(body, translated, model);
      await service.run(model.engine, translated, signal, (events) => {
        assembly.push(events);
        for (const event of events) {
          if (event.type === 'started') {
            send({
              type: 'completion.created',
              completion: assembly.id,
              model: model.name,
              prompt_tokens: event.promptTokens,
              cached_tokens: event.cachedTokens,
            });
          }
          const told = socketEvent(event);
          if (told) send(told);
        }
      });
      const { timings } = assembly;
      send({
        type: 'completion.completed',
        choices: assembly.choices(),
        usage: assembly.usage,
        ...(body.return_token_ids ? { prompt_token_ids: translated.prompt } : {}),
        timings: timings && {
          queue_ms: timings.queueMs,
          prompt_ms: timings.promptMs,
          total_ms: timings.totalMs,
          preemptions: timings.preemptions,
        },
      });
    } catch (error) {
      const failure = toApiError(error);
      if (failure.code === 'internal_error') this.#log.error(error);
      send({ type: 'error', ...failure.body });
    } finally {
      this.#running.delete(id);
      release();
    }
  }

  #send(event: object): void {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return;
    const frame = JSON.stringify(event);
    try {
      this.#backlog.add(frame, socket.bufferedAmount);
      socket.send(frame);
    } catch (error) {
      this.#context.service.metrics.streamCut();
      this.#abortAll();
      // Both wait behind what is unsent; a peer that never reads is disconnected by the closing handshake's timeout.
      socket.send(JSON.stringify({ type: 'error', ...toApiError(error).body }));
      socket.close(slowReader, 'too slow a reader');
    }
  }

  #abortAll(): void {
    for (const abort of this.#running.values()) abort.abort();
  }
}

/** The id of a frame that may be malformed otherwise, so that its error names it. */
function idOf(json: unknown): string | undefined {
  const id = typeof json === 'object' && json !== null && 'id' in json ? json.id : undefined;
  return typeof id === 'string' && id.length <= 128 ? id : undefined;
}
