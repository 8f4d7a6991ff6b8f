/** A response on a terminal: the trunk as running text, the branches of a block side by side while they grow. */
import type { EngineEvent } from '../engine/types.js';
import { type Column, columns, printable } from './layout.js';

/** Where the view is drawn: process.stdout, or a test's. */
export interface Screen {
  write(text: string): void;
  /** Cells. */
  readonly columns: number;
  readonly rows: number;
}

interface Node {
  title: string;
  /** Its own text, and in between the branches of nested blocks. */
  parts: (string | Node[])[];
}

/** Takes the events of one choice. Redrawing starts at the first branch of a block and ends where the block is joined. */
export class BranchView {
  readonly #screen: Screen;
  readonly #nodes = new Map<number, Node>();
  /** The branches of the trunk's open block. */
  #block: Node[] = [];
  #plans: string[] = [];
  /** Lines of the last drawing that stand above the cursor. */
  #drawn = 0;
  #atLineStart = true;

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Takes the events of an engine step and draws once. */
  push(events: readonly EngineEvent[]): void {
    for (const event of events) this.#take(event);
    // A line is left for the cursor; titles and rules take two of every band.
    if (this.#block.length > 0)
      this.#draw(Math.max(1, Math.floor((this.#screen.rows - 1) / this.#bands()) - 2));
  }

  end(): void {
    this.#close();
    this.#newline();
  }

  #take(event: EngineEvent): void {
    if (event.type === 'delta') {
      if (event.branch === 0) this.#trunk(event.text);
      else this.#append(this.#nodes.get(event.branch), event.text);
    } else if (event.type === 'block_opened' && event.branch === 0) {
      this.#plans = event.plans.map((plan) => plan.text.trim());
    } else if (event.type === 'branch_created') {
      const node: Node = { title: this.#plans[event.index] ?? event.number, parts: [] };
      this.#nodes.set(event.branch, node);
      if (event.parent === 0) this.#block.push(node);
      else this.#siblings(event.parent, event.index).push(node);
    } else if (event.type === 'block_joined' && event.branch === 0) {
      this.#close();
    }
  }

  #append(node: Node | undefined, text: string): void {
    if (node === undefined) return;
    const last = node.parts.length - 1;
    if (typeof node.parts[last] === 'string') node.parts[last] += text;
    else node.parts.push(text);
  }

  /** The nested block that a branch belongs to; its first one opens it. */
  #siblings(parent: number, index: number): Node[] {
    const parts = this.#nodes.get(parent)?.parts ?? [];
    const last = parts.at(-1);
    if (index > 0 && Array.isArray(last)) return last;
    const siblings: Node[] = [];
    parts.push(siblings);
    return siblings;
  }

  #trunk(text: string): void {
    if (text === '') return;
    this.#screen.write(printable(text));
    this.#atLineStart = text.endsWith('\n');
  }

  #newline(): void {
    if (!this.#atLineStart) this.#screen.write('\n');
    this.#atLineStart = true;
  }

  /** Draws the block a last time, whole, and leaves it on the screen. */
  #close(): void {
    if (this.#block.length === 0) return;
    this.#draw(undefined);
    this.#block = [];
    this.#drawn = 0;
  }

  #draw(rows: number | undefined): void {
    this.#newline();
    const parts: Column[] = this.#block.map((node) => ({ title: node.title, text: flat(node) }));
    const all = columns(parts, this.#screen.columns, rows);
    // What has left the screen at its top can't be drawn again.
    const lines = rows === undefined ? all : all.slice(-Math.max(1, this.#screen.rows - 1));
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#screen.write(`${up}\r\x1b[J${lines.join('\n')}\n`);
    this.#drawn = lines.length;
  }

  #bands(): number {
    const titles = this.#block.map((node) => ({ title: node.title, text: '' }));
    // Of an empty column, a band has a title, a rule and one line.
    return Math.max(1, Math.floor(columns(titles, this.#screen.columns).length / 3));
  }
}

/** What a branch says, without the tags that the columns themselves show. */
function flat(node: Node): string {
  const text = node.parts
    .map((part) => (typeof part === 'string' ? part : part.map(flat).join('\n')))
    .join('');
  return text.replace(/<\/?step>\n?/g, '');
}
