/**
 * Where the engine forced tokens. It tokenizes each forced piece by itself, whereas a tokenizer given the whole text
 * merges `:\n` or `\n\n`; so a response is tokenized again in the same pieces.
 */
import { TagMachine } from './machine.js';
import type { Tag } from './tags.js';

/** Reads one turn in order. Text after a tag that its state does not allow is left whole. */
export class ForcedPieces {
  readonly #machine = new TagMachine();
  /** Forced after the tag that came last. */
  #due: string[] = [];
  #wellFormed = true;

  tag(tag: Tag): void {
    this.#wellFormed &&= this.#machine.tag(tag);
    this.#due = this.#wellFormed ? this.#forcedAfter(tag) : [];
  }

  /** The pieces that a text between two tags is tokenized in. */
  text(text: string): string[] {
    this.#machine.text(text);
    const due = this.#due;
    this.#due = [];
    const forced = due.join('');
    if (forced === '' || !text.startsWith(forced)) return [text];
    return text.length === forced.length ? due : [...due, text.slice(forced.length)];
  }

  #forcedAfter(tag: Tag): string[] {
    switch (tag) {
      case '</guideline>':
      case '</step>':
      case '<takeaway>':
        return ['\n'];
      case '<step>':
        return ['\n', ...this.#machine.stepNumber, ':'];
      default:
        return [];
    }
  }
}
