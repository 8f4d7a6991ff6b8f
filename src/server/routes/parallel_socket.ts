/** WebSocket /v1/parallel: chats whose branches are told apart as they grow, several at once on one socket. */
import type { FastifyInstance } from 'fastify';
import type { Context } from '../context.js';
import { ApiError } from '../errors.js';
import { ChatSocket } from '../socket/connection.js';

export function parallelSocket(app: FastifyInstance, context: Context): void {
  app.route({
    method: 'GET',
    url: '/v1/parallel',
    config: { summary: 'WebSocket: chats with their branches, event by event' },
    handler: async () => {
      throw new ApiError('upgrade_required', 'this is a WebSocket; connect with an Upgrade header');
    },
    wsHandler: (socket, request) => {
      new ChatSocket(socket, context, request.log);
    },
  });
}
