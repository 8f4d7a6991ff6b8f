/** From flat text to segments. */
import { planNumber, TagMachine } from './machine.js';
import type { Block, Branch, Plan, Segment } from './segments.js';
import { join, type Lexeme, lex } from './tags.js';

/** Nesting beyond this is text: a view of it could be neither walked nor sent. */
export const MAX_DEPTH = 64;

/**
 * Segments of one turn, whose concatenation is its text. A block that does not parse is text from its outermost
 * `<guideline>` to the end, and a stray tag likewise from itself on. Lexemes in place of a string tell tags from text
 * that merely spells one.
 */
export function parse(turn: string | readonly Lexeme[]): Segment[] {
  const lexemes = typeof turn === 'string' ? lex(turn) : turn;
  const end = structuredLength(lexemes);
  const segments = new Reader(lexemes, end).segments();
  const rest = join(lexemes.slice(end));
  const last = segments.at(-1);
  if (rest === '') return segments;
  if (last?.type === 'text') last.text += rest;
  else segments.push({ type: 'text', text: rest });
  return segments;
}

/** How many lexemes from the start are well-formed. */
function structuredLength(lexemes: readonly Lexeme[]): number {
  const machine = new TagMachine();
  let outermost = 0;
  for (const [i, lexeme] of lexemes.entries()) {
    if (lexeme.kind === 'text') {
      machine.text(lexeme.text);
      continue;
    }
    const depth = machine.depth;
    if (depth === 0) outermost = i;
    if (!machine.tag(lexeme.text) || machine.depth > MAX_DEPTH) return outermost;
  }
  return machine.mayEnd ? lexemes.length : outermost;
}

/** Reads lexemes that are known to be well-formed. */
class Reader {
  #at = 0;

  constructor(
    readonly lexemes: readonly Lexeme[],
    readonly end: number,
  ) {}

  /** Texts and blocks up to a tag that belongs to the block around them. */
  segments(): Segment[] {
    const segments: Segment[] = [];
    while (this.#at < this.end) {
      if (this.#tag() === '<guideline>') segments.push(this.#block());
      else if (this.#tag() === undefined) segments.push({ type: 'text', text: this.#text() });
      else break;
    }
    return segments;
  }

  #block(): Block {
    const start = this.#at++;
    const plans: Plan[] = [];
    const branches: Branch[] = [];
    let takeaway = '';
    // each turn goes past a closing tag, or text between the parts
    for (let open = true; open && this.#at < this.end; this.#at++) {
      const tag = this.#tag();
      if (tag === '<plan>') {
        this.#at++;
        const text = this.#text();
        plans.push({ number: planNumber(text, plans.length), text });
      } else if (tag === '<step>') {
        branches.push(this.#branch(plans[branches.length]?.number ?? ''));
      } else if (tag === '<takeaway>') {
        this.#at++;
        takeaway = this.#text();
        open = false;
      }
    }
    this.#at = Math.min(this.#at, this.end); // a takeaway may end with its turn
    return { type: 'block', text: join(this.lexemes.slice(start, this.#at)), plans, branches, takeaway };
  }

  /** From `<step>` up to, not including, `</step>`. */
  #branch(number: string): Branch {
    const start = ++this.#at;
    const segments = this.segments();
    const text = join(this.lexemes.slice(start, this.#at));
    return segments.some((segment) => segment.type === 'block')
      ? { number, text, segments }
      : { number, text };
  }

  #tag(): string | undefined {
    const lexeme = this.lexemes[this.#at];
    return lexeme?.kind === 'tag' ? lexeme.text : undefined;
  }

  /** The text up to the next tag. */
  #text(): string {
    const start = this.#at;
    while (this.#at < this.end && this.lexemes[this.#at]?.kind === 'text') this.#at++;
    return join(this.lexemes.slice(start, this.#at));
  }
}
