/** What a client sends on the WebSocket /v1/parallel; `request` is checked as a chat completion is. */
import Type, { type Static } from 'typebox';
import { closed } from './common.js';

const Id = Type.String({
  minLength: 1,
  maxLength: 128,
  description: "The client's own name for the request.",
});

export const CreateFrame = Type.Object(
  {
    type: Type.Literal('chat.completion.create'),
    id: Id,
    request: Type.Record(Type.String(), Type.Unknown()),
  },
  closed,
);

export const CancelFrame = Type.Object({ type: Type.Literal('chat.completion.cancel'), id: Id }, closed);

export const SocketFrame = Type.Union([CreateFrame, CancelFrame]);
export type SocketFrame = Static<typeof SocketFrame>;
