/** A signal that aborts when a response is over, in whichever way: whatever still runs for it has no reader. */
import { setMaxListeners } from 'node:events';
import type { FastifyReply } from 'fastify';
import type { Service } from './service.js';

/** Until then, a stopping server waits. */
export function responseSignal(reply: FastifyReply, service: Service): AbortSignal {
  const controller = new AbortController();
  // Every prompt of a call listens.
  setMaxListeners(0, controller.signal);
  const release = service.hold();
  const over = () => {
    release();
    controller.abort();
  };
  if (reply.raw.destroyed) over();
  else reply.raw.once('close', over);
  return controller.signal;
}
