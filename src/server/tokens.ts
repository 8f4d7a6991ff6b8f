/** Tokens as the API reports them. */
import type { TokenLogprob, Vocabulary } from '../engine/types.js';

/** JSON has no -Infinity; OpenAI's API writes this in its place. */
const least = -9999;

export interface ReportedToken {
  token: string;
  logprob: number;
  bytes: number[];
}

/** The bytes and texts of a vocabulary. */
export class TokenTable {
  readonly #vocabulary: Vocabulary;

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  /** Empty for an id beyond the tokenizer's: a model's vocabulary may be padded. */
  bytes(token: number): Uint8Array {
    const { bytes, offsets } = this.#vocabulary;
    return bytes.subarray(offsets[token] ?? bytes.length, offsets[token + 1] ?? bytes.length);
  }

  /** A token that is part of a character shows as U+FFFD. */
  text(token: number): string {
    return new TextDecoder().decode(this.bytes(token));
  }

  report(token: number, logprob: number): ReportedToken {
    return { token: this.text(token), logprob: finite(logprob), bytes: [...this.bytes(token)] };
  }

  /** Alternatives by text, the token itself among them, as the completions API has it. */
  alternatives(entry: TokenLogprob): Record<string, number> {
    const pairs = [...entry.top, [entry.token, entry.logprob] as const];
    return Object.fromEntries(pairs.map(([token, logprob]) => [this.text(token), finite(logprob)]));
  }
}

/** Where the tokens of one text begin in it, in UTF-16 code units; to be asked in their order. */
export class TextOffsets {
  readonly #table: TokenTable;
  readonly #decoder = new TextDecoder();
  #end = 0;

  constructor(table: TokenTable) {
    this.#table = table;
  }

  next(token: number): number {
    const offset = this.#end;
    this.#end += this.#decoder.decode(this.#table.bytes(token), { stream: true }).length;
    return offset;
  }
}

export function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : least;
}
