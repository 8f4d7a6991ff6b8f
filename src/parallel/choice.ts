/** Collects the events of one choice into its message. */
import type { BranchEnd, EngineEvent, TagTokens, TokenLogprob } from '../engine/types.js';
import { type Delta, FlatOrder } from './flat_order.js';
import { parse } from './parse.js';
import type { Segment } from './segments.js';
import type { Lexeme, Tag } from './tags.js';

export interface ChoiceMessage {
  /** The text outside blocks. */
  content: string;
  /** The blocks in flat order, tags included. */
  reasoningContent: string;
  /** The concatenation of their text is the whole text. */
  segments: Segment[];
  /** In flat order. */
  tokens: number[];
  /** One for each token: true where the engine, not the policy, chose it. */
  forced: boolean[];
  /** One for each token, forced ones included; none where the request asked for none. */
  logprobs: TokenLogprob[];
  /** Likewise, under the distribution that each token was drawn from. */
  policyLogprobs: number[];
}

interface BranchRecord {
  branch: number;
  end?: BranchEnd;
  tokens?: number;
}

/** Takes the events of one choice as they come; not to be used again after `message`. */
export class ChoiceBuilder {
  readonly #order = new FlatOrder();
  readonly #tagOf: Map<number, Tag>;
  readonly #deltas: Delta[] = [];
  /** Of each parent branch, its blocks in order, each with its branches by index. */
  readonly #blocks = new Map<number, Map<number, BranchRecord[]>>();
  readonly #records = new Map<number, BranchRecord>();

  /** `tags`: the model's, undefined where it has none. */
  constructor(tags: TagTokens | undefined) {
    this.#tagOf = tags === undefined ? new Map() : tagTexts(tags);
  }

  /** Takes an event; returns the deltas whose turn in flat order has come. */
  push(event: EngineEvent): Delta[] {
    if (event.type === 'branch_created') {
      const record = { branch: event.branch };
      this.#records.set(event.branch, record);
      const blocks = this.#blocks.get(event.parent) ?? new Map<number, BranchRecord[]>();
      const branches = blocks.get(event.block) ?? [];
      branches[event.index] = record;
      this.#blocks.set(event.parent, blocks.set(event.block, branches));
    } else if (event.type === 'branch_completed') {
      const record = this.#records.get(event.branch);
      if (record !== undefined) Object.assign(record, { end: event.end, tokens: event.tokens });
    }
    const deltas = this.#order.push(event);
    for (const delta of deltas) this.#deltas.push(delta);
    return deltas;
  }

  message(): ChoiceMessage {
    const text = (channel: Delta['channel']) =>
      this.#deltas.map((delta) => (delta.channel === channel ? delta.text : '')).join('');
    const segments = parse(this.#lexemes());
    this.#annotate(segments, 0);
    return {
      content: text('content'),
      reasoningContent: text('block'),
      segments,
      tokens: this.#deltas.flatMap((delta) => delta.tokens),
      forced: this.#deltas.flatMap((delta) => delta.tokens.map(() => delta.forced)),
      logprobs: this.#deltas.flatMap((delta) => delta.logprobs ?? []),
      policyLogprobs: this.#deltas.flatMap((delta) => delta.policyLogprobs ?? []),
    };
  }

  /** Tags where there was a tag token; text that merely spells one is text. */
  #lexemes(): Lexeme[] {
    const lexemes: Lexeme[] = [];
    const pending: Tag[] = []; // their token came before their text
    const text = (text: string) => {
      if (text !== '') lexemes.push({ kind: 'text', text });
    };
    for (const delta of this.#deltas) {
      for (const token of delta.tokens) {
        const tag = this.#tagOf.get(token);
        if (tag !== undefined) pending.push(tag);
      }
      let rest = delta.text;
      for (let tag = pending[0]; tag !== undefined; tag = pending[0]) {
        const at = rest.indexOf(tag);
        if (at < 0) break;
        text(rest.slice(0, at));
        lexemes.push({ kind: 'tag', text: tag });
        rest = rest.slice(at + tag.length);
        pending.shift();
      }
      text(rest);
    }
    return lexemes;
  }

  /** A block that did not parse makes text of all after it, so that the n-th block read is the n-th one opened. */
  #annotate(segments: Segment[], parent: number): void {
    const opened = [...(this.#blocks.get(parent)?.values() ?? [])];
    for (const [i, block] of segments.filter((segment) => segment.type === 'block').entries()) {
      for (const [j, branch] of block.branches.entries()) {
        const record = opened[i]?.[j];
        if (record === undefined) continue;
        if (record.tokens !== undefined) branch.tokens = record.tokens;
        if (record.end !== undefined) branch.finish_reason = record.end;
        this.#annotate(branch.segments ?? [], record.branch);
      }
    }
  }
}

function tagTexts(tags: TagTokens): Map<number, Tag> {
  return new Map<number, Tag>([
    [tags.guideline, '<guideline>'],
    [tags.guidelineEnd, '</guideline>'],
    [tags.plan, '<plan>'],
    [tags.planEnd, '</plan>'],
    [tags.step, '<step>'],
    [tags.stepEnd, '</step>'],
    [tags.takeaway, '<takeaway>'],
    [tags.takeawayEnd, '</takeaway>'],
  ]);
}
