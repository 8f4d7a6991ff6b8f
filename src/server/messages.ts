/** From the messages of a chat to prompt tokens. */
import { hasTags } from '../parallel/tags.js';
import { SegmentError } from '../parallel/validate.js';
import { ChatError } from '../tokenizer/errors.js';
import type { ChatMessage } from '../tokenizer/messages.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { ApiError } from './errors.js';
import type { ChatRequest, Message } from './schemas/chat.js';

/** Throws an ApiError that names the message at fault. */
export async function promptOf(body: ChatRequest, tokenizer: Tokenizer): Promise<number[]> {
  const messages = body.messages.map((message) => chatMessage(message));
  try {
    return await tokenizer.renderChat(messages, {
      addGenerationPrompt: true,
      templateKwargs: body.chat_template_kwargs,
    });
  } catch (error) {
    if (error instanceof SegmentError || error instanceof ChatError) {
      throw new ApiError('invalid_value', error.message, error.path);
    }
    throw error;
  }
}

function chatMessage(message: Message): ChatMessage {
  const { content, reasoning_content, parallel } = message;
  const role = message.role === 'developer' ? 'system' : message.role;
  // Blocks that come back without their segments: a template knows nothing of them, so they stand before the content.
  if (role === 'assistant' && parallel === undefined && hasTags(reasoning_content ?? '')) {
    const text = typeof content === 'string' ? content : content?.map((part) => part.text).join('');
    return { role, content: reasoning_content + (text ?? '') };
  }
  return { role, content, reasoning_content, parallel };
}
