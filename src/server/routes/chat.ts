import type { FastifyInstance } from 'fastify';
import type { EngineEvent } from '../../engine/types.js';
import type { Context } from '../context.js';
import { responseSignal } from '../response_signal.js';
import { ChatAssembly } from '../responses/chat.js';
import { ChatChunk, ChatRequest, ChatResponse } from '../schemas/chat.js';
import { sendEvents } from '../sse.js';
import { chatRequest, checkStream } from '../translate.js';

export function chatRoutes(app: FastifyInstance, context: Context): void {
  const { service, settings } = context;
  app.post<{ Body: ChatRequest }>(
    '/v1/chat/completions',
    {
      schema: { body: ChatRequest },
      config: { summary: 'Answer a chat', response: ChatResponse, chunk: ChatChunk },
    },
    async (request, reply) => {
      const body = request.body;
      checkStream(body);
      const { model } = service;
      const signal = responseSignal(reply, service);
      const translated = await chatRequest(body, model, settings);
      const assembly = new ChatAssembly(body, translated, model);
      const run = (take: (events: EngineEvent[]) => void) =>
        service.run(model.engine, translated, signal, take);
      if (!body.stream) {
        await run((events) => assembly.push(events));
        return assembly.response();
      }
      await sendEvents(reply, context, async (send) => {
        await run((events) => send(assembly.chunks(events)));
        send(assembly.closing());
      });
      return reply;
    },
  );
}
