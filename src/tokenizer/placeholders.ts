/** Keeps what a user typed from becoming a control token while a chat template is rendered around it. */
import { randomInt } from 'node:crypto';

const INDEX_DIGITS = 5;

/**
 * Replaces special strings by placeholders for the length of one rendering. A placeholder is a 9 and other digits: no
 * template's trimming, case change or test for a control string touches it. Its random part is drawn anew each time (76
 * bits), so that no message can contain one.
 */
export class Placeholders {
  readonly #specials: readonly string[];
  readonly #pattern: RegExp;
  readonly #prefix = `9${Array.from({ length: 24 }, () => randomInt(9)).join('')}`;

  /** `pattern`: global, matches exactly the `specials`. */
  constructor(specials: readonly string[], pattern: RegExp) {
    this.#specials = specials;
    this.#pattern = pattern;
  }

  /** Replaces the special strings of a text but those in `keep`. */
  hide(text: string, keep?: ReadonlySet<string>): string {
    return text.replace(this.#pattern, (special) => {
      if (keep?.has(special)) return special;
      return this.#prefix + this.#specials.indexOf(special).toString(9).padStart(INDEX_DIGITS, '0');
    });
  }

  /** Likewise in every string of a JSON value, keys included. */
  hideAll(value: unknown): unknown {
    if (typeof value === 'string') return this.hide(value);
    if (Array.isArray(value)) return value.map((item) => this.hideAll(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [this.hide(key), this.hideAll(item)]),
    );
  }

  restore(text: string): string {
    if (!text.includes(this.#prefix)) return text;
    return text.replace(
      new RegExp(`${this.#prefix}([0-8]{${INDEX_DIGITS}})`, 'g'),
      (_, index: string) => this.#specials[Number.parseInt(index, 9)] as string,
    );
  }
}
