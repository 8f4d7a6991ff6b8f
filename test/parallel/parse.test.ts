import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MAX_DEPTH, parse } from '../../src/parallel/parse.js';
import { canonical, render } from '../../src/parallel/render.js';
import type { Segment } from '../../src/parallel/segments.js';
import { lex, TAGS } from '../../src/parallel/tags.js';
import { pick, random, randomSegments, randomText } from './random.js';

const BLOCK =
  '<guideline>\n<plan>1: a</plan>\n<plan>x</plan>\n</guideline>\n<step>\n1: one\n</step>\n<step>\n2: two\n</step>\n<takeaway>\nboth\n</takeaway>';

/** The layout's rules, token by token: where structure ends, and the blocks' extents at every depth. */
function reference(text: string): { plainFrom: number; blocks: string[] } {
  const lexemes = lex(text);
  let plainFrom = lexemes.length;
  for (;;) {
    const stack: { at: number; state: string; steps: number; plans: number }[] = [];
    const blocks: string[] = [];
    let bad: number | undefined;
    const extent = (from: number, to: number) =>
      lexemes
        .slice(from, to)
        .map((l) => l.text)
        .join('');
    for (let i = 0; i < plainFrom && bad === undefined; i++) {
      const tag = lexemes[i]?.text;
      const top = stack.at(-1);
      const state = top?.state ?? 'trunk';
      const outermost = stack[0]?.at ?? i;
      const must = (ok: boolean) => {
        if (!ok) bad = outermost;
        return ok;
      };
      if (tag === '<guideline>') {
        if (must(state === 'trunk' || state === 'step'))
          stack.push({ at: i, state: 'guideline', steps: 0, plans: 0 });
      } else if (tag === '<plan>') {
        if (must(state === 'guideline') && top) {
          top.state = 'plan';
          top.plans++;
        }
      } else if (tag === '</plan>') {
        if (must(state === 'plan') && top) top.state = 'guideline';
      } else if (tag === '</guideline>') {
        if (must(state === 'guideline' && top !== undefined && top.plans > 0) && top) top.state = 'between';
      } else if (tag === '<step>') {
        if (
          must((state === 'between' || state === 'closed') && top !== undefined && top.steps < top.plans) &&
          top
        ) {
          top.state = 'step';
          top.steps++;
        }
      } else if (tag === '</step>') {
        if (must(state === 'step') && top) top.state = 'closed';
      } else if (tag === '<takeaway>') {
        if (must(state === 'closed' && top !== undefined && top.steps === top.plans) && top)
          top.state = 'takeaway';
      } else if (tag === '</takeaway>') {
        if (must(state === 'takeaway') && top) {
          blocks.push(extent(top.at, i + 1));
          stack.pop();
        }
      }
    }
    if (bad === undefined && stack.some((block) => block.state !== 'takeaway')) bad = stack[0]?.at;
    if (bad === undefined) {
      for (const block of stack.reverse()) blocks.push(extent(block.at, plainFrom));
      return { plainFrom, blocks };
    }
    plainFrom = bad;
  }
}

function blockTexts(segments: Segment[]): string[] {
  return segments
    .filter((segment) => segment.type === 'block')
    .flatMap((block) => [
      ...block.branches.flatMap((branch) => blockTexts(branch.segments ?? [])),
      block.text,
    ]);
}

describe('parse', () => {
  it('reads the parts of a block', () => {
    expect(parse(`so\n${BLOCK}\nend`)).toEqual([
      { type: 'text', text: 'so\n' },
      {
        type: 'block',
        text: BLOCK,
        plans: [
          { number: '1', text: '1: a' },
          { number: '2', text: 'x' },
        ],
        branches: [
          { number: '1', text: '\n1: one\n' },
          { number: '2', text: '\n2: two\n' },
        ],
        takeaway: '\nboth\n',
      },
      { type: 'text', text: '\nend' },
    ]);
  });

  it('is the inverse of rendering', () => {
    for (let seed = 0; seed < 400; seed++) {
      const segments = randomSegments(random(seed));
      expect(parse(render(segments)), `seed ${seed}`).toEqual(segments);
    }
  });

  it('agrees with the layout rules on any sequence of tags', () => {
    for (let seed = 0; seed < 3000; seed++) {
      const next = random(seed);
      let parts: string[];
      if (next() < 0.3) parts = Array.from({ length: 12 }, () => (next() < 0.7 ? pick(next, TAGS) : 'x'));
      else {
        // a valid response with a few tags dropped, doubled, swapped, or cut off
        parts = lex(render(randomSegments(next))).map((lexeme) => lexeme.text);
        for (let edits = Math.floor(next() * 3); edits > 0; edits--) {
          const at = Math.floor(next() * parts.length);
          if (next() < 0.25) parts.length = at;
          else parts.splice(at, next() < 0.5 ? 1 : 0, ...(next() < 0.5 ? [pick(next, TAGS)] : []));
        }
      }
      const text = parts.join('');
      const { plainFrom, blocks } = reference(text);
      const segments = parse(text);
      expect(segments.map((segment) => segment.text).join(''), `seed ${seed}`).toBe(text);
      expect(blockTexts(segments), `seed ${seed}`).toEqual(blocks);
      const plain = lex(text)
        .slice(plainFrom)
        .map((lexeme) => lexeme.text)
        .join('');
      if (plain !== '') expect(segments.at(-1)).toMatchObject({ type: 'text' });
      expect(segments.at(-1)?.text.endsWith(plain) ?? plain === '').toBe(true);
    }
  });

  it('reads every golden trace as the blocks it holds', () => {
    const traces: { text: string }[] = JSON.parse(readFileSync('test/fixtures/npr-lab/greedy.json', 'utf8'));
    for (const { text } of traces) {
      const segments = parse(text);
      const blocks = segments.filter((segment) => segment.type === 'block');
      expect(blocks.length).toBe(text.split('<guideline>').length - 1);
      expect(render(segments)).toBe(text);
      expect(canonical(segments)).toBe(text); // the lab model writes canonical whitespace
      for (const block of blocks)
        expect(block.branches.map((branch) => branch.number)).toEqual(block.plans.map((plan) => plan.number));
    }
  });

  it('keeps a takeaway that ends with its turn', () => {
    const cut = BLOCK.slice(0, -'</takeaway>'.length);
    expect(parse(cut)).toMatchObject([{ type: 'block', text: cut, takeaway: '\nboth\n' }]);
  });

  it('leaves an unfinished block as text', () => {
    const cut = BLOCK.slice(0, BLOCK.indexOf(' two'));
    expect(parse(cut)).toEqual([{ type: 'text', text: cut }]);
  });

  it('takes a tag that is spelled out in lexemes as text', () => {
    expect(parse([{ kind: 'text', text: BLOCK }])).toEqual([{ type: 'text', text: BLOCK }]);
  });

  it('survives nesting without end', () => {
    const nested = (depth: number) =>
      '<guideline><plan>a</plan></guideline><step>'.repeat(depth) +
      '</step><takeaway></takeaway>'.repeat(depth);
    expect(parse(nested(MAX_DEPTH))).toMatchObject([{ type: 'block', text: nested(MAX_DEPTH) }]);
    for (const depth of [MAX_DEPTH + 1, 20_000])
      expect(parse(nested(depth))).toEqual([{ type: 'text', text: nested(depth) }]);
  });
});

describe('canonical', () => {
  it('writes the numbers and one newline between parts, and is read back as itself', () => {
    const loose =
      ' hm\n\n<guideline> <plan> add a </plan><plan>7 : b</plan>\n\n</guideline>  <step>x</step><step>7: y</step> <takeaway>z</takeaway>\n\n end';
    const text = canonical(parse(loose));
    expect(text).toBe(
      'hm\n<guideline>\n<plan>1: add a</plan>\n<plan>7 : b</plan>\n</guideline>\n<step>\n1: x\n</step>\n<step>\n7: y\n</step>\n<takeaway>\nz\n</takeaway>\nend',
    );
    for (let seed = 0; seed < 200; seed++) {
      const once = canonical(randomSegments(random(seed)));
      expect(canonical(parse(once)), `seed ${seed}`).toBe(once);
    }
  });

  it('of nested blocks keeps their order', () => {
    const next = random(5);
    const inner = parse(BLOCK);
    const outer = `<guideline><plan>1:</plan></guideline><step>${randomText(next)}a${render(inner)}b</step><takeaway>t</takeaway>`;
    expect(canonical(parse(outer))).toContain(`a\n${BLOCK.replace('<plan>x', '<plan>2: x')}\nb\n</step>`);
  });
});
