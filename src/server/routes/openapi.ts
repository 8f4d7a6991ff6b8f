import type { FastifyInstance } from 'fastify';
import { type DescribedRoute, openapi } from '../openapi.js';

/** `routes`: filled as routes are registered; read when the document is asked for. */
export function openapiRoutes(app: FastifyInstance, routes: readonly DescribedRoute[]): void {
  app.get('/openapi.json', { config: { summary: 'This document', open: true } }, async () => openapi(routes));
}
