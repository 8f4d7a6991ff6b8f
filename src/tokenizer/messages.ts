/** Chat messages as a client sends them, and as a template takes them. */
import { render } from '../parallel/render.js';
import type { SegmentInput } from '../parallel/segments.js';
import { validate } from '../parallel/validate.js';
import type { TemplateMessage } from './chat_template.js';
import { ChatError } from './errors.js';

export interface ChatMessage {
  role: string;
  /** Text, or text in parts, which are concatenated. An assistant's may be absent. */
  content?: string | readonly { type: string; text?: string | undefined }[] | null | undefined;
  reasoning_content?: string | null | undefined;
  /** Of an assistant: the response it gave, in place of `content` and `reasoning_content`. */
  parallel?: { segments: readonly SegmentInput[] } | null | undefined;
}

/** `path`: of the message, as in `messages[2]`. Throws a ChatError or a SegmentError. */
export function templateMessage(message: ChatMessage, path: string): TemplateMessage {
  const { role, content, reasoning_content, parallel } = message;
  if (role !== 'system' && role !== 'user' && role !== 'assistant')
    throw new ChatError(`${path}.role`, `"${role}" is not supported; expected system, user or assistant`);
  if (role !== 'assistant') {
    if (content === undefined || content === null) throw new ChatError(`${path}.content`, 'is missing');
    for (const [name, value] of Object.entries({ reasoning_content, parallel }))
      if (value !== undefined && value !== null)
        throw new ChatError(`${path}.${name}`, 'belongs to an assistant message');
    return { role, content: textOf(content, `${path}.content`) };
  }
  if (parallel) {
    validate(parallel.segments, `${path}.parallel.segments`);
    return { role, content: render(parallel.segments) };
  }
  const text = textOf(content ?? '', `${path}.content`);
  return typeof reasoning_content === 'string'
    ? { role, content: text, reasoning_content }
    : { role, content: text };
}

function textOf(content: NonNullable<ChatMessage['content']>, path: string): string {
  if (typeof content === 'string') return content;
  return content
    .map((part, i) => {
      if (part.type !== 'text' || typeof part.text !== 'string')
        throw new ChatError(`${path}[${i}]`, `only parts of type text are supported, found "${part.type}"`);
      return part.text;
    })
    .join('');
}
