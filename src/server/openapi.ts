/** The OpenAPI document, out of the same schemas that check requests. */
import type { TSchema } from 'typebox';
import { ErrorResponse } from './schemas/common.js';

/** What a route's `config` says about it; its body's schema is the route's own. */
export interface RouteDescription {
  summary?: string;
  response?: TSchema;
  /** Of each event of a stream. */
  chunk?: TSchema;
  contentType?: string;
  /** What the `*` at the end of the URL is: a parameter that may contain slashes. */
  rest?: string;
  /** Needs no API key. */
  open?: boolean;
}

declare module 'fastify' {
  interface FastifyContextConfig extends RouteDescription {}
}

export interface DescribedRoute {
  method: string;
  url: string;
  body: TSchema | undefined;
  config: RouteDescription;
}

export function openapi(routes: readonly DescribedRoute[]): object {
  const schemas: Record<string, unknown> = { Error: ErrorResponse };
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.url.replace('*', `{${route.config.rest}}`);
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, schemas) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'npr-serve',
      version: '1',
      description:
        'OpenAI-compatible inference of models that reason in parallel. A null member counts as absent.',
    },
    paths,
    components: { schemas, securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
  };
}

function operation(route: DescribedRoute, schemas: Record<string, unknown>): object {
  const { config } = route;
  const content: Record<string, unknown> = {};
  content[config.contentType ?? 'application/json'] = config.response
    ? { schema: hoist(config.response, schemas) }
    : {};
  if (config.chunk) content['text/event-stream'] = { schema: hoist(config.chunk, schemas) };
  return {
    summary: config.summary,
    ...(config.open ? {} : { security: [{ key: [] }, {}] }),
    ...(config.rest
      ? { parameters: [{ name: config.rest, in: 'path', required: true, schema: { type: 'string' } }] }
      : {}),
    ...(route.body
      ? {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: hoist(route.body, schemas) } },
          },
        }
      : {}),
    responses: {
      200: { description: 'OK', content },
      default: {
        description: 'An error',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

/** Moves a schema's definitions to the document's components, where every reader of OpenAPI finds them. */
function hoist(schema: unknown, schemas: Record<string, unknown>): unknown {
  if (Array.isArray(schema)) return schema.map((item) => hoist(item, schemas));
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $defs, $id: _, ...rest } = schema as { $defs?: Record<string, unknown>; $id?: string };
  for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = hoist(definition, schemas);
  return Object.fromEntries(
    Object.entries(rest).map(([key, value]) =>
      key === '$ref' ? [key, `#/components/schemas/${value}`] : [key, hoist(value, schemas)],
    ),
  );
}
