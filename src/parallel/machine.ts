/** The tag state machine: which tag may come next, and which number each step carries. */
import type { Tag } from './tags.js';

/** between: after `</guideline>`, before the first `<step>`; closed: after a `</step>`. */
export type State = 'trunk' | 'guideline' | 'plan' | 'between' | 'step' | 'closed' | 'takeaway';

interface OpenBlock {
  state: Exclude<State, 'trunk'>;
  /** The numbers of the finished plans. */
  numbers: string[];
  /** Text of the plan being read. */
  plan: string;
  steps: number;
}

const NUMBER = /^[ \t\n\v\f\r]*([0-9]+(?:\.[0-9]+)*)[ \t\n\v\f\r]*:/;

/** The number a plan's or a step's text begins with, as in `2.1: ...`; undefined where it has none. */
export function leadingNumber(text: string): string | undefined {
  return NUMBER.exec(text)?.[1];
}

/** The number of a plan: its own, else its ordinal, from 1. */
export function planNumber(text: string, index: number): string {
  return leadingNumber(text) ?? String(index + 1);
}

export class TagMachine {
  readonly #open: OpenBlock[] = [];

  get state(): State {
    return this.#open.at(-1)?.state ?? 'trunk';
  }

  get depth(): number {
    return this.#open.length;
  }

  /** The number of the step being read. Only in the state `step`. */
  get stepNumber(): string {
    const block = this.#open.at(-1);
    const number = block?.numbers[block.steps - 1];
    if (number === undefined) throw new Error(`no step is open in the state ${this.state}`);
    return number;
  }

  /** True where a turn may end: outside blocks, or in takeaways alone, which may end with their turn. */
  get mayEnd(): boolean {
    return this.#open.every((block) => block.state === 'takeaway');
  }

  /** Text that is no tag; it is allowed everywhere. */
  text(text: string): void {
    const block = this.#open.at(-1);
    if (block?.state === 'plan') block.plan += text;
  }

  /** Takes a tag; false, and nothing changed, where the state does not allow it. */
  tag(tag: Tag): boolean {
    const block = this.#open.at(-1);
    if (tag === '<guideline>') {
      if (block !== undefined && block.state !== 'step') return false;
      this.#open.push({ state: 'guideline', numbers: [], plan: '', steps: 0 });
      return true;
    }
    if (block === undefined) return false;
    switch (tag) {
      case '<plan>':
        if (block.state !== 'guideline') return false;
        block.plan = '';
        block.state = 'plan';
        return true;
      case '</plan>':
        if (block.state !== 'plan') return false;
        block.numbers.push(planNumber(block.plan, block.numbers.length));
        block.state = 'guideline';
        return true;
      case '</guideline>':
        if (block.state !== 'guideline' || block.numbers.length === 0) return false;
        block.state = 'between';
        return true;
      case '<step>':
        if ((block.state !== 'between' && block.state !== 'closed') || block.steps === block.numbers.length)
          return false;
        block.steps++;
        block.state = 'step';
        return true;
      case '</step>':
        if (block.state !== 'step') return false;
        block.state = 'closed';
        return true;
      case '<takeaway>':
        if (block.state !== 'closed' || block.steps !== block.numbers.length) return false;
        block.state = 'takeaway';
        return true;
      case '</takeaway>':
        if (block.state !== 'takeaway') return false;
        this.#open.pop();
        return true;
    }
  }
}
