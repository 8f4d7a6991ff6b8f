import type { FastifyInstance } from 'fastify';
import type { Context } from '../context.js';
import type { ServedModel } from '../model.js';
import { Model, ModelList } from '../schemas/models.js';

export function modelRoutes(app: FastifyInstance, { service }: Context): void {
  app.get('/v1/models', { config: { summary: 'List the served model', response: ModelList } }, async () => ({
    object: 'list',
    data: [card(service.model)],
  }));

  // A name may contain slashes, which not every client escapes.
  app.get<{ Params: { '*': string } }>(
    '/v1/models/*',
    { config: { summary: 'Describe a model', rest: 'id', response: Model } },
    async (request) => {
      const { model } = service;
      model.checkName(request.params['*']);
      return card(model);
    },
  );
}

function card(model: ServedModel) {
  return {
    id: model.name,
    object: 'model',
    created: model.created,
    owned_by: 'npr-serve',
    max_model_len: model.engine.info.maxPositions,
    kv_slots: model.engine.info.slots,
    parallel: model.tokenizer.vocabulary.tags !== undefined,
  };
}
