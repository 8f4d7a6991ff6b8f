/** From an example to what the model sees. */
import type { Json } from '../tokenizer/files.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Example } from './examples.js';

export class Prompts {
  readonly #tokenizer: Tokenizer;
  readonly #system: string | undefined;
  readonly #kwargs: Json | undefined;

  /** `system`: of examples that have none of their own. */
  constructor(tokenizer: Tokenizer, system: string | undefined, templateKwargs: Json | undefined) {
    this.#tokenizer = tokenizer;
    this.#system = system;
    this.#kwargs = templateKwargs;
  }

  /** Up to the head of the assistant's turn. Throws a ChatError where the model's chat template refuses it. */
  prompt(example: Example): Promise<number[]> {
    const system = example.system ?? this.#system;
    return this.#tokenizer.renderChat(
      [
        ...(system === undefined ? [] : [{ role: 'system', content: system }]),
        { role: 'user', content: example.question },
      ],
      { addGenerationPrompt: true, templateKwargs: this.#kwargs },
    );
  }

  /** A response as the model would have written it, with the token that ends its turn. */
  async response(text: string): Promise<number[]> {
    const { turnEnd, endTokens } = this.#tokenizer.vocabulary;
    const end = turnEnd >= 0 ? turnEnd : endTokens[0];
    const tokens = await this.#tokenizer.encodeResponse(text);
    return end === undefined ? tokens : [...tokens, end];
  }
}
