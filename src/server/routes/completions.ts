import type { FastifyInstance } from 'fastify';
import type { EngineEvent } from '../../engine/types.js';
import type { Context } from '../context.js';
import { responseSignal } from '../response_signal.js';
import { CompletionAssembly } from '../responses/completion.js';
import { runAll } from '../run_all.js';
import { CompletionChunk, CompletionRequest, CompletionResponse } from '../schemas/completions.js';
import { sendEvents } from '../sse.js';
import { checkStream, completionRequests } from '../translate.js';

export function completionRoutes(app: FastifyInstance, context: Context): void {
  const { service, settings } = context;
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
      checkStream(body);
      const { model } = service;
      const signal = responseSignal(reply, service);
      const requests = await completionRequests(body, model, settings);
      const assembly = new CompletionAssembly(body, requests, model);
      // One call's prompts take no more of the engine than it runs at once, so that they never fill the queue.
      const run = (take: (prompt: number, events: EngineEvent[]) => void) =>
        runAll(
          requests.map((one, prompt) => () => {
            return service.run(model.engine, one, signal, (events) => take(prompt, events));
          }),
          settings.maxRunning,
        );
      if (!body.stream) {
        await run((prompt, events) => assembly.push(prompt, events));
        return assembly.response();
      }
      await sendEvents(reply, context, async (send) => {
        await run((prompt, events) => send(assembly.chunks(prompt, events)));
        send(assembly.closing());
      });
      return reply;
    },
  );
}
