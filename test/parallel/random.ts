/** Seeded random segments: nested blocks, odd whitespace, empty parts, text of any script. */
import type { Block, Branch, Segment } from '../../src/parallel/segments.js';

/** mulberry32: uniform in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<T>(next: () => number, items: readonly T[]): T {
  return items[Math.floor(next() * items.length)] as T;
}

const WORDS = [
  '12*3 = 36',
  ' so',
  '\n',
  '\n\n',
  ':',
  ' ',
  '\t',
  'é',
  '数',
  '🙂',
  '<',
  'step >',
  '< plan>',
  '\\boxed{1}',
  '.',
  '',
];

export function randomText(next: () => number): string {
  return Array.from({ length: Math.floor(next() * 6) }, () => pick(next, WORDS)).join('');
}

function whitespace(next: () => number): string {
  return pick(next, ['\n', '\n', '\n', '', '\n\n', ' \n', ' between ']);
}

export function randomSegments(next: () => number, depth = 0): Segment[] {
  const segments: Segment[] = [];
  const text = () => {
    const value = randomText(next);
    const last = segments.at(-1);
    // neighbouring texts are one segment, and there are no empty ones
    if (value !== '' && last?.type !== 'text') segments.push({ type: 'text', text: value });
  };
  text();
  for (let blocks = Math.floor(next() * (depth === 0 ? 3 : 2)); blocks > 0; blocks--) {
    segments.push(randomBlock(next, depth));
    text();
  }
  return segments;
}

function randomBlock(next: () => number, depth: number): Block {
  const n = 1 + Math.floor(next() * 4);
  const plans = Array.from({ length: n }, (_, i) => {
    const own = pick(next, [String(i + 1), `2.${i + 1}`, undefined]);
    // begins with a letter, so that a text without a number of its own has the ordinal
    const text =
      own === undefined ? `p${randomText(next)}` : `${pick(next, ['', ' '])}${own}: ${randomText(next)}`;
    return { number: own ?? String(i + 1), text };
  });
  const branches = plans.map(({ number }): Branch => {
    const segments = depth < 2 ? randomSegments(next, depth + 1) : [];
    const nested = segments.some((segment) => segment.type === 'block');
    const text = nested ? segments.map((segment) => segment.text).join('') : randomText(next);
    return nested ? { number, text, segments } : { number, text };
  });
  const takeaway = randomText(next);
  const text = [
    '<guideline>',
    ...plans.map((plan) => `${whitespace(next)}<plan>${plan.text}</plan>`),
    `${whitespace(next)}</guideline>${whitespace(next)}`,
    ...branches.map((branch) => `<step>${branch.text}</step>${whitespace(next)}`),
    `<takeaway>${takeaway}</takeaway>`,
  ].join('');
  return { type: 'block', text, plans, branches, takeaway };
}
