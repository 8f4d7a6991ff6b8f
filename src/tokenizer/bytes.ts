/** The bytes of every token of a byte-level vocabulary. */
import type { AddedToken } from './files.js';

/** Token i is bytes[offsets[i] .. offsets[i + 1]); empty for an id that no token has. */
export interface TokenBytes {
  bytes: Uint8Array;
  /** [size + 1] */
  offsets: Uint32Array;
}

/**
 * GPT-2's alphabet, inverted: printable characters of Latin-1 stand for their own byte, and the other bytes in order
 * for the characters from U+0100 on.
 */
const BYTE_OF = new Map<string, number>();
for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  BYTE_OF.set(String.fromCodePoint(printable ? byte : next++), byte);
}

/** An added token is its content; a token with a character outside the alphabet stands for its own UTF-8. */
export function tokenBytes(vocab: Map<string, number>, addedTokens: readonly AddedToken[]): TokenBytes {
  const encoder = new TextEncoder();
  const tokens: Uint8Array[] = [];
  for (const [token, id] of vocab) {
    const bytes = Array.from(token, (character) => BYTE_OF.get(character));
    tokens[id] = bytes.includes(undefined) ? encoder.encode(token) : Uint8Array.from(bytes as number[]);
  }
  for (const { id, content } of addedTokens) tokens[id] = encoder.encode(content);

  const offsets = new Uint32Array(tokens.length + 1);
  for (let id = 0; id < tokens.length; id++)
    offsets[id + 1] = (offsets[id] as number) + (tokens[id]?.length ?? 0);
  const bytes = new Uint8Array(offsets[tokens.length] as number);
  for (let id = 0; id < tokens.length; id++) bytes.set(tokens[id] ?? [], offsets[id]);
  return { bytes, offsets };
}

/** The text of tokens; bytes that are no UTF-8 become U+FFFD. Ids that no token has are empty. */
export function decode({ bytes, offsets }: TokenBytes, ids: readonly number[]): string {
  const parts = ids.map((id) => bytes.subarray(offsets[id] ?? bytes.length, offsets[id + 1] ?? bytes.length));
  return Buffer.concat(parts).toString('utf8');
}
