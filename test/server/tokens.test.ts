import { expect, it } from 'vitest';
import { TextOffsets, TokenTable } from '../../src/server/tokens.js';

/** The ids of these bytes, in order, are their places. */
function table(...tokens: (string | number[])[]): TokenTable {
  const parts = tokens.map((token) => Buffer.from(token as string));
  const offsets = [0];
  for (const part of parts) offsets.push((offsets.at(-1) as number) + part.length);
  return new TokenTable({
    bytes: Buffer.concat(parts),
    offsets: Uint32Array.from(offsets),
    endTokens: [],
    turnHead: [],
    turnEnd: -1,
    newline: [],
    colon: [],
    digits: {},
  });
}

it('tells alternatives that are parts of characters apart', () => {
  const tokens = table('a', [0xf0, 0x9f], [0xf0, 0x9e], [0x20, 0xe2], '\ufffd', 'é');
  const top = [1, 2, 3, 4, 5].map((token): [number, number] => [token, -token]);
  expect(tokens.alternatives({ token: 0, logprob: -Infinity, top })).toEqual({
    'bytes:\\xf0\\x9f': -1,
    'bytes:\\xf0\\x9e': -2,
    'bytes: \\xe2': -3,
    '\ufffd': -4,
    é: -5,
    a: -9999,
  });
});

it('keeps byte order marks', () => {
  const tokens = table('\ufeff', '\ufeffa');
  expect([tokens.text(0), tokens.text(1)]).toEqual(['\ufeff', '\ufeffa']);
  const offsets = new TextOffsets(tokens);
  expect([0, 1, 0].map((token) => offsets.next(token))).toEqual([0, 1, 3]);
});
