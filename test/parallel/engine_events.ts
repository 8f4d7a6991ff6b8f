/** A stand-in for the engine: the events of one choice, its branches interleaved at random. */
import type { BranchEnd, Channel, EngineEvent, TagTokens } from '../../src/engine/types.js';
import { FlatOrder } from '../../src/parallel/flat_order.js';
import type { Block, Segment } from '../../src/parallel/segments.js';
import { lex, TAGS } from '../../src/parallel/tags.js';
import { pick } from './random.js';

export const TAG_TOKENS: TagTokens = {
  guideline: 1000,
  guidelineEnd: 1001,
  plan: 1002,
  planEnd: 1003,
  step: 1004,
  stepEnd: 1005,
  takeaway: 1006,
  takeawayEnd: 1007,
};

export const USAGE = {
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  forcedTokens: 0,
  blocks: 0,
  branches: 0,
  criticalPathTokens: 0,
};

export interface Run {
  events: EngineEvent[];
  /** By branch. */
  ends: Map<number, { end: BranchEnd; tokens: number }>;
}

/** `next` decides the interleaving alone: what each branch says depends on the segments only. */
export function run(segments: Segment[], next: () => number): Run {
  const events: EngineEvent[] = [];
  const ends: Run['ends'] = new Map();
  const counts = new Map<number, number>();
  let branches = 0;

  function say(branch: number, channel: Channel, text: string): EngineEvent[] {
    return lex(text).flatMap((lexeme) => {
      const parts = lexeme.kind === 'tag' ? [lexeme.text] : (lexeme.text.match(/[\s\S]{1,5}/gu) ?? []);
      return parts.map((part): EngineEvent => {
        const token = lexeme.kind === 'tag' ? 1000 + TAGS.indexOf(lexeme.text) : part.length;
        const forced = lexeme.text === '<step>' || lexeme.text === '<takeaway>';
        counts.set(branch, (counts.get(branch) ?? 0) + 1);
        return {
          type: 'delta',
          choice: 0,
          branch,
          channel,
          text: part,
          tokens: [token],
          forced,
          logprobs: [{ token, logprob: forced ? 0 : -part.length, top: [] }],
        };
      });
    });
  }

  type Thread = Generator<EngineEvent | 'wait', void>;
  const threads: Thread[] = [];

  function* write(list: Segment[], branch: number, channel: Channel): Thread {
    for (const segment of list) {
      if (segment.type === 'text') yield* say(branch, channel, segment.text);
      else yield* writeBlock(segment, branch);
    }
  }

  let blocks = 0;
  function* writeBlock(block: Block, parent: number): Thread {
    const id = blocks++;
    const { head, bodies, tail } = cut(block);
    yield* say(parent, 'block', head);
    yield { type: 'block_opened', choice: 0, branch: parent, block: id, plans: block.plans };
    let running = block.branches.length;
    for (const [index, branch] of block.branches.entries()) {
      const number = ++branches;
      yield {
        type: 'branch_created',
        choice: 0,
        branch: number,
        parent,
        block: id,
        index,
        number: branch.number,
      };
      threads.push(
        (function* (): Thread {
          yield* say(number, 'block', '<step>');
          yield* write(branch.segments ?? [{ type: 'text', text: branch.text }], number, 'block');
          yield* say(number, 'block', bodies[index] as string);
          const end = pick(next, ['step_end', 'stop', 'length'] as const);
          const tokens = counts.get(number) ?? 0;
          ends.set(number, { end, tokens });
          yield { type: 'branch_completed', choice: 0, branch: number, block: id, end, tokens };
          running--;
        })(),
      );
    }
    while (running > 0) yield 'wait';
    yield { type: 'block_joined', choice: 0, branch: parent, block: id };
    yield* say(parent, 'block', tail);
  }

  threads.push(write(segments, 0, 'content'));
  while (threads.length > 0) {
    const at = Math.floor(next() * threads.length);
    const { value, done } = (threads[at] as Thread).next();
    if (done) threads.splice(at, 1);
    else if (value !== 'wait') events.push(value);
  }
  events.push({ type: 'choice_finished', choice: 0, reason: 'stop', usage: USAGE });
  return { events, ends };
}

/** A block's text before its first branch, from each `</step>` to the next part, and from `<takeaway>` on. */
function cut(block: Block): { head: string; bodies: string[]; tail: string } {
  let rest = block.text;
  const take = (length: number) => {
    const taken = rest.slice(0, length);
    rest = rest.slice(length);
    return taken;
  };
  const head = take(rest.indexOf('<step>'));
  const bodies = block.branches.map((branch, i) => {
    take('<step>'.length + branch.text.length);
    return take(rest.indexOf(i + 1 < block.branches.length ? '<step>' : '<takeaway>'));
  });
  return { head, bodies, tail: rest };
}

/** What FlatOrder makes of events, all at once. */
export function flatten(events: EngineEvent[]): string {
  const order = new FlatOrder();
  return events.flatMap((event) => order.push(event).map((delta) => delta.text)).join('');
}
