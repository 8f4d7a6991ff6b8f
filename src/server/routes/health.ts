import type { FastifyInstance } from 'fastify';
import type { Context } from '../context.js';
import { Health } from '../schemas/models.js';

export function healthRoutes(app: FastifyInstance, { service }: Context): void {
  app.get(
    '/health',
    {
      config: {
        summary: '200 when ready, 503 while loading or draining, or once the GPU is lost',
        response: Health,
        open: true,
      },
    },
    async (_request, reply) => {
      const status = service.state;
      if (status !== 'ready') return reply.code(503).send({ status });
      const { running, waiting } = service.model.engine.stats();
      return { status, running, waiting };
    },
  );

  app.get(
    '/metrics',
    { config: { summary: 'Figures for Prometheus', contentType: 'text/plain', open: true } },
    async (_request, reply) => {
      const { registry } = service.metrics;
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
}
