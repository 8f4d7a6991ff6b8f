import { describe, expect, it } from 'vitest';
import type { EngineEvent } from '../../src/engine/types.js';
import { ChoiceBuilder } from '../../src/parallel/choice.js';
import { FlatOrder } from '../../src/parallel/flat_order.js';
import { render } from '../../src/parallel/render.js';
import type { Segment } from '../../src/parallel/segments.js';
import { flatten, run, TAG_TOKENS, USAGE } from './engine_events.js';
import { random, randomSegments } from './random.js';

function delta(branch: number, text: string, token = 1): EngineEvent {
  return { type: 'delta', choice: 0, branch, channel: 'block', text, tokens: [token], forced: false };
}

function created(branch: number, index: number): EngineEvent {
  return { type: 'branch_created', choice: 0, branch, parent: 0, block: 0, index, number: String(index + 1) };
}

function completed(branch: number): EngineEvent {
  return { type: 'branch_completed', choice: 0, branch, block: 0, end: 'step_end', tokens: 1 };
}

const opened: EngineEvent = {
  type: 'block_opened',
  choice: 0,
  branch: 0,
  block: 0,
  plans: [
    { number: '1', text: '1: a' },
    { number: '2', text: '2: b' },
  ],
};

describe('FlatOrder', () => {
  it('gives the flat text for any interleaving of the branches', () => {
    for (let seed = 0; seed < 150; seed++) {
      const segments = randomSegments(random(seed));
      for (let order = 0; order < 4; order++)
        expect(flatten(run(segments, random(1000 * order + seed)).events), `seed ${seed}`).toBe(
          render(segments),
        );
    }
  });

  it('holds nothing back once every branch is done', () => {
    for (let seed = 0; seed < 50; seed++) {
      const order = new FlatOrder();
      for (const event of run(randomSegments(random(seed)), random(seed)).events) {
        const deltas = order.push(event);
        if (event.type === 'choice_finished') expect(deltas).toEqual([]);
      }
    }
  });

  it('passes the first open branch through and holds the others back', () => {
    const order = new FlatOrder();
    const texts = (event: EngineEvent) => order.push(event).map((d) => (d as { text: string }).text);
    expect(texts(delta(0, 'head'))).toEqual(['head']);
    expect(texts(opened)).toEqual([]);
    expect(texts(delta(0, 'separator'))).toEqual(['separator']);
    expect(texts(created(2, 1))).toEqual([]);
    expect(texts(delta(2, 'early'))).toEqual([]);
    expect(texts(created(1, 0))).toEqual([]);
    expect(texts(delta(1, 'live'))).toEqual(['live']);
    expect(texts(completed(2))).toEqual([]);
    expect(texts(delta(0, 'takeaway'))).toEqual([]);
    expect(texts(completed(1))).toEqual(['early', 'takeaway']);
  });

  it('passes on in order what a cut choice left behind', () => {
    const order = new FlatOrder();
    for (const event of [delta(0, 'a'), opened, created(1, 0), created(2, 1), delta(2, 'c'), delta(0, 'd')])
      order.push(event);
    order.push(delta(1, 'b'));
    const rest = order.push({ type: 'choice_finished', choice: 0, reason: 'cancelled', usage: USAGE });
    expect(rest.map((d) => d.text)).toEqual(['c', 'd']);
  });

  it('refuses branches that were never announced', () => {
    expect(() => new FlatOrder().push(delta(3, 'x'))).toThrow('branch 3 is not open');
    expect(() => new FlatOrder().push(created(1, 0))).toThrow('branch 1 belongs to no open block');
  });
});

describe('ChoiceBuilder', () => {
  function collect(segments: Segment[], seed: number) {
    const { events, ends } = run(segments, random(seed));
    const builder = new ChoiceBuilder(TAG_TOKENS);
    const streamed = events.flatMap((event) => builder.push(event));
    return { message: builder.message(), streamed, ends };
  }

  it('gives the segments back with what is known of each branch', () => {
    for (let seed = 0; seed < 150; seed++) {
      const segments = randomSegments(random(seed));
      const { message, streamed, ends } = collect(segments, seed + 7);
      let annotated = 0;
      const bare = (list: Segment[]): Segment[] =>
        list.map((segment) => {
          if (segment.type === 'text') return segment;
          const branches = segment.branches.map(({ tokens, finish_reason, segments: nested, ...branch }) => {
            annotated++;
            expect([...ends.values()]).toContainEqual({ end: finish_reason, tokens });
            return nested === undefined ? branch : { ...branch, segments: bare(nested) };
          });
          return { ...segment, branches };
        });
      expect(bare(message.segments), `seed ${seed}`).toEqual(segments);
      expect(annotated).toBe(ends.size);
      const text = (type: string) => segments.map((s) => (s.type === type ? s.text : '')).join('');
      expect(message.content).toBe(text('text'));
      expect(message.reasoningContent).toBe(text('block'));
      expect(message.tokens).toEqual(streamed.flatMap((d) => d.tokens));
      expect(message.forced.length).toBe(message.tokens.length);
      expect(message.logprobs.map((l) => l.token)).toEqual(message.tokens);
      for (const [i, forced] of message.forced.entries())
        expect(message.logprobs[i]?.logprob === 0).toBe(forced);
    }
  });

  it('gives each branch its own count', () => {
    const builder = new ChoiceBuilder(TAG_TOKENS);
    const events: EngineEvent[] = [
      delta(0, '<guideline>', 1000),
      delta(0, '<plan>', 1002),
      delta(0, '1: a', 5),
      delta(0, '</plan>', 1003),
      delta(0, '<plan>', 1002),
      delta(0, '</plan>', 1003),
      delta(0, '</guideline>', 1001),
      opened,
      created(1, 0),
      created(2, 1),
      delta(2, '<step>', 1004),
      delta(2, '</step>', 1005),
      { type: 'branch_completed', choice: 0, branch: 2, block: 0, end: 'length', tokens: 2 },
      delta(1, '<step>', 1004),
      // spelled out by ordinary tokens: no tag
      delta(1, '</step>', 6),
      delta(1, '', 1005),
      delta(1, '</step>\n', 7),
      { type: 'branch_completed', choice: 0, branch: 1, block: 0, end: 'step_end', tokens: 4 },
      delta(0, '<takeaway>', 1006),
      delta(0, '</takeaway>', 1007),
    ];
    for (const event of events) builder.push(event);
    expect(builder.message().segments).toMatchObject([
      {
        branches: [
          { number: '1', text: '</step>', tokens: 4, finish_reason: 'step_end' },
          { number: '2', text: '', tokens: 2, finish_reason: 'length' },
        ],
      },
    ]);
  });
});
