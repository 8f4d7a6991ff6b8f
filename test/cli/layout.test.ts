import { describe, expect, it } from 'vitest';
import { BranchView } from '../../src/cli/branch_view.js';
import { cells, columns, printable, wrap } from '../../src/cli/layout.js';
import type { EngineEvent } from '../../src/engine/types.js';
import { delta, parallel, sequential } from '../server/double.js';

describe('wrap', () => {
  it('breaks between words, and within those that are too long', () => {
    expect(wrap('one two three', 8)).toEqual(['one two', 'three']);
    expect(wrap('abcdefghij', 4)).toEqual(['abcd', 'efgh', 'ij']);
    expect(wrap('a\n\nb', 4)).toEqual(['a', '', 'b']);
  });

  it('never exceeds the width, and loses no word', () => {
    const words = 'the 東京 quick 🙂 brown e\u0301clair fox jumpsoverthelazydog'.split(' ');
    for (let width = 2; width < 30; width++) {
      const lines = wrap(words.join(' '), width);
      expect(Math.max(...lines.map(cells))).toBeLessThanOrEqual(width);
      expect(lines.join('').replaceAll(' ', '')).toBe(words.join(''));
    }
  });
});

it('cells counts wide characters twice and combining ones not at all', () => {
  expect(['abc', '東京', 'e\u0301', '🙂', ''].map(cells)).toEqual([3, 4, 1, 2, 0]);
});

it('printable lets no escape sequence through', () => {
  expect(printable('a\x1b[2Jb\r\nc\td\x9b')).toBe('a[2Jb\nc  d');
});

describe('columns', () => {
  const parts = [1, 2, 3].map((i) => ({ title: `plan ${i}`, text: `branch ${i} `.repeat(i * 3) }));

  it.each([20, 41, 60, 100, 237])('fit %i cells', (width) => {
    const lines = columns(parts, width);
    expect(Math.max(...lines.map(cells))).toBeLessThanOrEqual(width);
    const text = lines.join('\n');
    for (const i of [1, 2, 3]) expect(text.split(`branch ${i}`).length - 1).toBe(i * 3);
  });

  it('stand side by side where there is room, below each other where not', () => {
    expect(columns(parts, 100)[0]).toMatch(/^plan 1 +│ plan 2 +│ plan 3$/);
    expect(columns(parts, 30).filter((line) => line.startsWith('plan'))).toEqual([
      'plan 1',
      'plan 2',
      'plan 3',
    ]);
  });

  it('show the last rows where there are too many', () => {
    const lines = columns([{ title: 't', text: '1\n2\n3\n4' }], 40, 2);
    expect(lines.slice(2)).toEqual(['3', '4']);
  });
});

/** Cursor up, clear to the end, text: all that the view writes. */
const esc = '\x1b';
const output = new RegExp(`(?:${esc}\\[(\\d+)A)?(\r${esc}\\[J)?([^${esc}\r]*)`, 'g');

/** What a terminal shows after some output. */
class Terminal {
  readonly columns: number;
  readonly rows: number;
  lines = [''];
  draws = 0;

  constructor(width: number, height = 24) {
    this.columns = width;
    this.rows = height;
  }

  write(text: string): void {
    for (const [, up, clear, rest] of text.matchAll(output)) {
      // The cursor stops at the top of the screen.
      const lines = Math.min(Number(up ?? 0), this.rows - 1);
      this.lines.splice(this.lines.length - 1 - lines, lines);
      if (clear) {
        this.draws++;
        this.lines[this.lines.length - 1] = '';
      }
      const [first = '', ...more] = (rest ?? '').split('\n');
      this.lines[this.lines.length - 1] += first;
      this.lines.push(...more);
    }
  }
}

describe('the branch view', () => {
  it('leaves trunk, columns and answer, each once', async () => {
    const terminal = new Terminal(80);
    const view = new BranchView(terminal);
    for await (const events of parallel()) view.push(events);
    view.end();
    expect(terminal.draws).toBeGreaterThan(3);
    expect(terminal.lines.map((line) => line.replace(/ +/g, ' '))).toEqual([
      '<guideline>',
      '<plan>1: add</plan>',
      '<plan>2: subtract</plan>',
      '</guideline>',
      '1: add │ 2: subtract',
      expect.stringMatching(/^─+┼─+$/),
      '1: 1+1 = 2 │ 2: 3-1',
      '<takeaway>',
      'both 2',
      '</takeaway>',
      '2',
      '',
    ]);
  });

  it('shows nested branches inside the column they belong to', () => {
    const terminal = new Terminal(60);
    const view = new BranchView(terminal);
    const open = (branch: number, number: string): EngineEvent => ({
      type: 'block_opened',
      choice: 0,
      branch,
      block: 0,
      plans: [{ number, text: `plan ${number}` }],
    });
    const create = (branch: number, parent: number, number: string): EngineEvent => ({
      type: 'branch_created',
      choice: 0,
      branch,
      parent,
      block: 0,
      index: 0,
      number,
    });
    view.push([open(0, '1'), create(1, 0, '1'), delta('outer ', { branch: 1 })]);
    view.push([open(1, '1.1'), create(2, 1, '1.1'), delta('inner ', { branch: 2 })]);
    view.push([{ type: 'block_joined', choice: 0, branch: 1, block: 0 }, delta('rest', { branch: 1 })]);
    view.push([{ type: 'block_joined', choice: 0, branch: 0, block: 0 }, delta('after')]);
    view.end();
    expect(terminal.lines.slice(2)).toEqual(['outer inner rest', 'after', '']);
  });

  it('leaves no trace of earlier drawings on a screen too small for its branches', () => {
    for (const height of [2, 6, 24]) {
      const terminal = new Terminal(40, height);
      const view = new BranchView(terminal);
      const plans = Array.from({ length: 20 }, (_, i) => ({ number: `${i + 1}`, text: `plan ${i + 1}` }));
      view.push([{ type: 'block_opened', choice: 0, branch: 0, block: 0, plans }]);
      const number = (branch: number) => ({ branch, number: String(branch), index: branch - 1 });
      for (let branch = 1; branch <= 20; branch++)
        view.push([{ type: 'branch_created', choice: 0, parent: 0, block: 0, ...number(branch) }]);
      for (let branch = 1; branch <= 20; branch++) view.push([delta(`one\ntwo\nend ${branch}`, { branch })]);
      view.push([{ type: 'block_joined', choice: 0, branch: 0, block: 0 }]);
      view.end();
      expect(terminal.lines).toHaveLength(10 * 5 + 1);
      expect(terminal.lines.filter((line) => line.startsWith('plan 1 '))).toHaveLength(1);
    }
  });

  it('shows a sequential answer as running text', async () => {
    const terminal = new Terminal(80);
    const view = new BranchView(terminal);
    const request = { n: 1 } as Parameters<typeof sequential>[0];
    for await (const events of sequential(request)) view.push(events);
    view.end();
    expect(terminal.lines).toEqual(['one two three', '']);
  });
});
