/** Tokens as the API reports them. */
import { isUtf8 } from 'node:buffer';
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
    return whole.decode(this.bytes(token));
  }

  /** As the completions API writes it: a token that is part of a character as its bytes, or many would look alike. */
  key(token: number): string {
    const bytes = this.bytes(token);
    return isUtf8(bytes) ? this.text(token) : `bytes:${Array.from(bytes, escaped).join('')}`;
  }

  report(token: number, logprob: number): ReportedToken {
    return { token: this.text(token), logprob: finite(logprob), bytes: [...this.bytes(token)] };
  }

  /** Alternatives by key, the token itself among them, as the completions API has it. */
  alternatives(entry: TokenLogprob): Record<string, number> {
    const pairs = [...entry.top, [entry.token, entry.logprob] as const];
    return Object.fromEntries(pairs.map(([token, logprob]) => [this.key(token), finite(logprob)]));
  }
}

/** Where the tokens of one text begin in it, in UTF-16 code units; to be asked in their order. */
export class TextOffsets {
  readonly #table: TokenTable;
  readonly #decoder = decoder();
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

/** A text that begins with U+FEFF keeps it. */
function decoder() {
  return new TextDecoder('utf-8', { ignoreBOM: true });
}
const whole = decoder();

/** Printable ASCII as itself. */
function escaped(byte: number): string {
  const character = String.fromCharCode(byte);
  return /[ -[\]-~]/.test(character) ? character : `\\x${byte.toString(16).padStart(2, '0')}`;
}

export function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : least;
}
