import type { FastifyInstance } from 'fastify';
import type { Context } from '../context.js';
import { responseSignal } from '../response_signal.js';
import { ChatAssembly } from '../responses/chat.js';
import { ChatChunk, ChatRequest, ChatResponse } from '../schemas/chat.js';
import { sendEvents } from '../sse.js';
import { chatRequest } from '../translate.js';

export function chatRoutes(app: FastifyInstance, { service, settings }: Context): void {
  app.post<{ Body: ChatRequest }>(
    '/v1/chat/completions',
    {
      schema: { body: ChatRequest },
      config: { summary: 'Answer a chat', response: ChatResponse, chunk: ChatChunk },
    },
    async (request, reply) => {
      const body = request.body;
      const { model } = service;
      const signal = responseSignal(reply, service);
      const translated = await chatRequest(body, model, settings);
      const assembly = new ChatAssembly(body, translated, model);
      const steps = service.run(model.engine, translated, signal);
      if (body.stream) {
        await sendEvents(reply, frames(assembly, steps), {
          bound: settings.streamBuffer,
          onSlowReader: () => service.metrics.streamCut(),
        });
        return reply;
      }
      for await (const events of steps) assembly.push(events);
      return assembly.response();
    },
  );
}

async function* frames(
  assembly: ChatAssembly,
  steps: ReturnType<Context['service']['run']>,
): AsyncGenerator<object[]> {
  let opening = assembly.opening();
  for await (const events of steps) {
    const chunks = [...opening, ...assembly.chunks(events)];
    opening = [];
    if (chunks.length > 0) yield chunks;
  }
  yield assembly.closing();
}
