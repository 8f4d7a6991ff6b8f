/** When a response is over, in whichever way: whatever still runs for it has no reader. */
import { setMaxListeners } from 'node:events';
import type { FastifyReply } from 'fastify';
import type { Service } from './service.js';

/** Aborts when the response is over. Until then, a stopping server waits. */
export function responseSignal(reply: FastifyReply, service: Service): AbortSignal {
  const controller = new AbortController();
  // Every prompt of a call listens.
  setMaxListeners(0, controller.signal);
  const release = service.hold();
  whenOver(reply, () => {
    release();
    controller.abort();
  });
  return controller.signal;
}

/** Calls `over`, once. */
export function whenOver({ raw, request }: FastifyReply, over: () => void): void {
  const { socket } = request.raw;
  let done = false;
  const end = () => {
    raw.off('close', end);
    socket.off('close', end);
    if (!done) over();
    done = true;
  };
  if (raw.destroyed || socket.destroyed) {
    end();
    return;
  }
  raw.once('close', end);
  // Of a connection that closes Node tells only the response whose turn it is, not those pipelined behind it.
  socket.setMaxListeners(0).once('close', end);
}
