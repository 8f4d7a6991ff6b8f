/** The HTTP server: routes, checks common to all of them, and errors in OpenAI's shape. */
import { createHash, timingSafeEqual } from 'node:crypto';
import websocket from '@fastify/websocket';
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
  LogController,
} from 'fastify';
import type { TSchema } from 'typebox';
import { refuseConnection } from './client_error.js';
import type { Context } from './context.js';
import { ApiError, toApiError } from './errors.js';
import { Incoming } from './incoming.js';
import type { DescribedRoute } from './openapi.js';
import { whenOver } from './response_signal.js';
import { chatRoutes } from './routes/chat.js';
import { completionRoutes } from './routes/completions.js';
import { healthRoutes } from './routes/health.js';
import { modelRoutes } from './routes/models.js';
import { openapiRoutes } from './routes/openapi.js';
import { parallelSocket } from './routes/parallel_socket.js';
import { refused } from './schemas/common.js';
import type { Service } from './service.js';
import { validator } from './validate.js';

/** As proxies log a request whose client did not wait for the end. */
const clientLeft = 499;

/** For WebSockets to answer the closing handshake of a server that stops. */
const graceMs = 1000;

/** Not listening yet. `logger`: off where left out. */
export async function createApp(
  context: Context,
  logger: FastifyServerOptions['loggerInstance'] | undefined = undefined,
): Promise<FastifyInstance> {
  const { service, settings } = context;
  const app = Fastify({
    ...(logger ? { loggerInstance: logger } : {}),
    // One line a request, by `account`, in place of Fastify's two.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: settings.bodyLimit,
    // While draining, requests on kept-alive connections get this server's own 503.
    return503OnClosing: false,
    forceCloseConnections: true,
    // Errors before routing, as of a URL that can't be decoded.
    frameworkErrors: sendError,
    clientErrorHandler: refuseConnection,
    // Keep-alive finds the peers that vanished: a request that waits for its answer writes nothing that would fail.
    http: { IncomingMessage: Incoming, keepAlive: true, keepAliveInitialDelay: 60_000 },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    async (_request: unknown, body: string) => parseJson(body),
  );
  app.setValidatorCompiler(({ schema }) => {
    const check = validator(schema as TSchema, refused);
    return (value: unknown) => {
      try {
        return { value: check(value) };
      } catch (error) {
        return { error: toApiError(error) };
      }
    };
  });

  app.setErrorHandler(sendError);
  app.setNotFoundHandler((request) => {
    throw new ApiError('not_found', `no such route: ${request.method} ${request.url.slice(0, 200)}`);
  });

  // Before the hooks below: it closes the socket of an upgrade that they refuse.
  await app.register(websocket, { options: { maxPayload: settings.bodyLimit } });
  // By itself a peer that does not answer would hold the server for half a minute.
  app.addHook('preClose', async () => {
    const cut = () => {
      for (const client of app.websocketServer.clients) client.terminate();
    };
    setTimeout(cut, graceMs).unref();
  });

  app.addHook('onRequest', async (request, reply) => {
    whenOver(reply, () => account(request, reply, service));
    if (settings.apiKey !== undefined && !request.routeOptions.config?.open) {
      checkKey(request.headers.authorization, settings.apiKey);
    }
    // Before the body is read: it would be for nothing.
    if (request.routeOptions.url?.startsWith('/v1/')) void service.model;
  });

  const routes: DescribedRoute[] = [];
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) {
      if (method === 'HEAD' || route.config?.summary === undefined) continue;
      routes.push({
        method,
        url: route.url,
        body: route.schema?.body as TSchema | undefined,
        config: route.config,
      });
    }
  });
  parallelSocket(app, context);
  chatRoutes(app, context);
  completionRoutes(app, context);
  modelRoutes(app, context);
  healthRoutes(app, context);
  openapiRoutes(app, routes);
  refuseOtherMethods(app, routes);
  return app;
}

/** One line of the log and one count for a request that is over, answered or left. */
function account(request: FastifyRequest, reply: FastifyReply, { metrics }: Service): void {
  const route = request.routeOptions.url ?? 'unknown';
  const given = request.ws ? 101 : clientLeft;
  const status = reply.raw.writableFinished ? reply.statusCode : given;
  metrics.request(route, status);
  const line = { method: request.method, route, status, ms: Math.round(reply.elapsedTime) };
  // Probes and scrapes come every few seconds.
  request.log[request.routeOptions.config?.open ? 'debug' : 'info'](line, 'request');
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = toApiError(error);
  if (failure.code === 'internal_error') request.log.error(error);
  return reply.code(failure.status).headers(failure.headers).send(failure.body);
}

function parseJson(text: string): unknown {
  if (text === '') throw new ApiError('invalid_json', 'the body is empty; expected a JSON object');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ApiError('invalid_json', `the body is not JSON: ${(error as Error).message}`);
  }
}

function checkKey(header: string | undefined, key: string): void {
  const given = /^Bearer (.+)$/i.exec(header ?? '')?.[1];
  if (given === undefined)
    throw new ApiError('invalid_api_key', 'send the API key as: Authorization: Bearer KEY');
  // Hashes have one length, and comparing them takes the same time wherever the keys differ.
  const hash = (text: string) => createHash('sha256').update(text).digest();
  if (!timingSafeEqual(hash(given), hash(key))) throw new ApiError('invalid_api_key', 'the API key is wrong');
}

/** A known path with another method is 405, not 404. */
function refuseOtherMethods(app: FastifyInstance, routes: readonly DescribedRoute[]): void {
  for (const { url, method } of [...routes]) {
    const allowed = method === 'GET' ? 'GET, HEAD' : method;
    app.route({
      method: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].filter((other) => other !== method),
      url,
      handler: async (request, reply) => {
        reply.header('allow', allowed);
        throw new ApiError('method_not_allowed', `${url} takes ${allowed}, not ${request.method}`);
      },
    });
  }
}
