import type { FastifyInstance } from 'fastify';
import type { EngineEvent } from '../../engine/types.js';
import type { Context } from '../context.js';
import { merge } from '../merge.js';
import { responseSignal } from '../response_signal.js';
import { CompletionAssembly } from '../responses/completion.js';
import { CompletionChunk, CompletionRequest, CompletionResponse } from '../schemas/completions.js';
import { sendEvents } from '../sse.js';
import { completionRequests } from '../translate.js';

export function completionRoutes(app: FastifyInstance, { service, settings }: Context): void {
  app.post<{ Body: CompletionRequest }>(
    '/v1/completions',
    {
      schema: { body: CompletionRequest },
      config: {
        summary: 'Complete texts or token ids',
        response: CompletionResponse,
        chunk: CompletionChunk,
      },
    },
    async (request, reply) => {
      const body = request.body;
      const { model } = service;
      const signal = responseSignal(reply, service);
      const requests = await completionRequests(body, model, settings);
      const assembly = new CompletionAssembly(body, requests, model);
      // One call's prompts take no more of the engine than it runs at once, so that they never fill the queue.
      const steps = merge(
        requests.map((one) => () => service.run(model.engine, one, signal)),
        settings.maxRunning,
      );
      if (body.stream) {
        await sendEvents(reply, frames(assembly, steps), {
          bound: settings.streamBuffer,
          onSlowReader: () => service.metrics.streamCut(),
        });
        return reply;
      }
      for await (const [prompt, events] of steps) assembly.push(prompt, events);
      return assembly.response();
    },
  );
}

async function* frames(
  assembly: CompletionAssembly,
  steps: ReturnType<typeof merge<EngineEvent[]>>,
): AsyncGenerator<object[]> {
  for await (const [prompt, events] of steps) {
    const chunks = assembly.chunks(prompt, events);
    if (chunks.length > 0) yield chunks;
  }
  yield assembly.closing();
}
