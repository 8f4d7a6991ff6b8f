/** Engine events as the WebSocket tells them. */
import type { EngineEvent } from '../../engine/types.js';

/** One event of a request; the connection adds the request's id and the sequence number. */
export interface SocketEvent {
  type: string;
  [field: string]: unknown;
}

/** undefined for what is told otherwise: the end of the request, and prompt log-probabilities. */
export function socketEvent(event: EngineEvent): SocketEvent | undefined {
  switch (event.type) {
    case 'delta': {
      if (event.text === '') return undefined;
      const { choice, branch, text } = event;
      return branch === 0
        ? { type: 'trunk.delta', choice, channel: event.channel, text }
        : { type: 'branch.delta', choice, branch, text };
    }
    case 'block_opened': {
      const { choice, branch, block, plans } = event;
      return { type: 'block.opened', choice, parent: branch, block, plans };
    }
    case 'branch_created': {
      const { choice, branch, parent, block, index, number } = event;
      return { type: 'branch.created', choice, branch, parent, block, index, number };
    }
    case 'branch_completed': {
      const { choice, branch, block, end, tokens } = event;
      return { type: 'branch.completed', choice, branch, block, finish_reason: end, tokens };
    }
    case 'block_joined': {
      const { choice, branch, block } = event;
      return { type: 'block.joined', choice, parent: branch, block };
    }
    default:
      return undefined;
  }
}
