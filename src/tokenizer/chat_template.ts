/** A model's chat template. */
import { Template } from '@huggingface/jinja';
import { ChatError } from './errors.js';
import { isObject, type Json } from './files.js';
import { rewriteStrips, STRIP_FUNCTIONS } from './python_strip.js';

/** A message as templates know it. */
export interface TemplateMessage {
  role: string;
  content: string;
  reasoning_content?: string;
}

export class ChatTemplate {
  readonly #template: Template;
  /** `bos_token`, `eos_token` and the like, which templates write by name. */
  readonly #specialTokens: Record<string, string> = {};

  /** Throws where the source is not a template that can be compiled. */
  constructor(source: string, tokenizerConfig: Json) {
    this.#template = new Template(source);
    rewriteStrips(this.#template.parsed);
    for (const [name, token] of Object.entries(tokenizerConfig)) {
      const content = isObject(token) ? token.content : token;
      if (name.endsWith('_token') && typeof content === 'string') this.#specialTokens[name] = content;
    }
  }

  /** Throws a ChatError where the template raises one or cannot take these messages. */
  render(messages: TemplateMessage[], addGenerationPrompt: boolean, kwargs: Json): string {
    try {
      return this.#template.render({
        tools: null,
        documents: null,
        ...this.#specialTokens,
        ...kwargs,
        messages,
        add_generation_prompt: addGenerationPrompt,
        ...STRIP_FUNCTIONS,
      });
    } catch (error) {
      throw new ChatError('messages', `the model's chat template refuses them: ${(error as Error).message}`);
    }
  }
}
