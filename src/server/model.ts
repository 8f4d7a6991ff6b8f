/** A loaded model, as the routes see it. */
import type { Engine } from '../engine/types.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { ApiError } from './errors.js';
import { TokenTable } from './tokens.js';

export class ServedModel {
  readonly name: string;
  /** Seconds since 1970. */
  readonly created = Math.floor(Date.now() / 1000);
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly tokens: TokenTable;

  constructor(name: string, engine: Engine, tokenizer: Tokenizer) {
    this.name = name;
    this.engine = engine;
    this.tokenizer = tokenizer;
    this.tokens = new TokenTable(tokenizer.vocabulary);
  }

  /** Throws where a request names another model. */
  checkName(name: string | undefined): void {
    if (name === undefined || name === this.name) return;
    throw new ApiError(
      'model_not_found',
      `the model '${name.slice(0, 100)}' does not exist; this server has '${this.name}'`,
      'model',
    );
  }
}
