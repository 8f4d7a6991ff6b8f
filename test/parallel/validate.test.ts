import { describe, expect, it } from 'vitest';
import { parse } from '../../src/parallel/parse.js';
import { render } from '../../src/parallel/render.js';
import type { BlockInput, SegmentInput } from '../../src/parallel/segments.js';
import { SegmentError, validate } from '../../src/parallel/validate.js';
import { random, randomSegments } from './random.js';

const byHand: BlockInput = {
  type: 'block',
  plans: [{ text: 'add' }, { number: '5', text: 'multiply' }],
  branches: [{ text: '1 + 1 = 2' }, { number: '5', text: '5: 2 * 2 = 4' }],
  takeaway: '2 and 4',
};

function fault(segments: SegmentInput[]): string {
  try {
    validate(segments);
  } catch (error) {
    if (error instanceof SegmentError) return error.message;
    throw error;
  }
  return 'valid';
}

/** The block by hand with some members replaced. */
function but(change: Partial<BlockInput>): SegmentInput[] {
  return [{ ...byHand, ...change }];
}

describe('validate', () => {
  it('accepts whatever parse gives, and the same without its text', () => {
    for (let seed = 0; seed < 300; seed++) {
      const segments = randomSegments(random(seed));
      expect(fault(segments), `seed ${seed}`).toBe('valid');
      const parts = segments.map((segment): SegmentInput => {
        if (segment.type === 'text') return segment;
        const { text: _, ...rest } = segment;
        return rest;
      });
      expect(fault(parts), `seed ${seed}`).toBe('valid');
      const blocks = (list: SegmentInput[]) => list.filter((segment) => segment.type === 'block').length;
      expect(blocks(parse(render(parts)))).toBe(blocks(parts));
    }
  });

  it('renders a block written by hand canonically', () => {
    expect(fault([byHand])).toBe('valid');
    expect(render([{ type: 'text', text: 'Hm. ' }, byHand, { type: 'text', text: '\nDone' }])).toBe(
      'Hm. <guideline>\n<plan>1: add</plan>\n<plan>5: multiply</plan>\n</guideline>\n<step>\n1: 1 + 1 = 2\n</step>\n<step>\n5: 2 * 2 = 4\n</step>\n<takeaway>\n2 and 4\n</takeaway>\nDone',
    );
  });

  it('takes text segments that hold tags of a block that did not parse', () => {
    expect(fault(parse('a <guideline> b <plan>'))).toBe('valid');
    expect(fault([byHand, { type: 'text', text: ' </step>' }])).toBe('valid');
  });

  it('names the faulty member', () => {
    const text = render([byHand]);
    const cases: [SegmentInput[], RegExp][] = [
      [[{ type: 'text', text: '</step>' }, byHand], /^segments\[1\]: is not read back/],
      [[{ type: 'block' }], /^segments\[0\]: a block needs its text, or plans/],
      [but({ plans: [] }), /^segments\[0\]\.plans: .*at least one plan/],
      [but({ branches: [{ text: 'x' }] }), /^segments\[0\]\.branches: 1 branch for 2 plans/],
      [but({ takeaway: null }), /^segments\[0\]: a block needs/],
      [but({ takeaway: 'a</takeaway>' }), /^segments\[0\]\.takeaway: holds a tag/],
      [but({ plans: [{ text: '<plan>' }, { text: 'b' }] }), /^segments\[0\]\.plans\[0\]\.text: holds a tag/],
      [but({ branches: [{ text: 'x' }, {}] }), /^segments\[0\]\.branches\[1\]: .*text or segments/],
      [
        but({ branches: [{ text: 'x' }, { text: '</step>' }] }),
        /branches\[1\]\.text: has a tag that belongs/,
      ],
      [but({ plans: [{ number: '3', text: '1: a' }, { text: 'b' }] }), /plans\[0\]\.number: "3", .*"1"/],
      [but({ plans: [{ number: 'one', text: 'a' }, { text: 'b' }] }), /plans\[0\]\.number: "one"/],
      [but({ text: `${text} ` }), /^segments\[0\]\.text: is not exactly one block/],
      [but({ text, branches: [], takeaway: null }), /^segments\[0\]\.plans\[0\]\.text: differs/],
      [[{ type: 'block', text, branches: [] }], /^segments\[0\]\.branches: differs/],
      [[{ type: 'block', text, takeaway: '2 and 4' }], /^segments\[0\]\.takeaway: differs/],
      [
        but({ branches: [{ text: 'a' }, { text: 'b', segments: [{ type: 'text', text: 'c' }] }] }),
        /branches\[1\]\.text: differs from the segments/,
      ],
      [
        but({ branches: [{ text: 'a' }, { segments: [{ ...byHand, plans: [] }] }] }),
        /branches\[1\]\.segments\[0\]\.plans: /,
      ],
      [
        [
          { type: 'block', text: text.slice(0, -'</takeaway>'.length) },
          { type: 'text', text: 'more' },
        ],
        /^segments\[0\]: is not read back/,
      ],
    ];
    for (const [segments, message] of cases) expect(fault(segments)).toMatch(message);
  });

  it('refuses nesting without end', () => {
    let segments: SegmentInput[] = [{ type: 'text', text: 'x' }];
    for (let depth = 0; depth < 2000; depth++)
      segments = [{ type: 'block', plans: [{ text: 'a' }], branches: [{ segments }], takeaway: '' }];
    expect(fault(segments)).toMatch(/nested deeper than 64/);
  });
});
