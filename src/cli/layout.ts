/** Text in columns, as lines of a terminal. */

const gap = ' │ ';
/** Narrower columns are hard to read: branches that do not fit beside each other go below. */
const narrowest = 18;

export interface Column {
  title: string;
  text: string;
}

/**
 * Lines of at most `width` cells. `rows`: how many of each column's lines to show, the last ones; all where undefined.
 */
export function columns(parts: readonly Column[], width: number, rows?: number): string[] {
  if (parts.length === 0) return [];
  const beside = Math.max(1, Math.floor((width + gap.length) / (narrowest + gap.length)));
  const lines: string[] = [];
  for (let first = 0; first < parts.length; first += beside) {
    const band = parts.slice(first, first + beside);
    const each = Math.max(1, Math.floor((width - gap.length * (band.length - 1)) / band.length));
    const bodies = band.map((part) => wrap(part.text.trim(), each));
    const height = Math.min(rows ?? Number.POSITIVE_INFINITY, Math.max(...bodies.map((body) => body.length)));
    lines.push(
      row(
        band.map((part) => shorten(part.title, each)),
        each,
      ),
    );
    lines.push(band.map(() => '─'.repeat(each)).join('─┼─'));
    for (let i = 0; i < height; i++) {
      lines.push(
        row(
          bodies.map((body) => body.slice(-height)[i] ?? ''),
          each,
        ),
      );
    }
  }
  return lines;
}

/** Lines of at most `width` cells, broken between words where that can be. */
export function wrap(text: string, width: number): string[] {
  return printable(text)
    .split('\n')
    .flatMap((line) => wrapLine(line, width));
}

function wrapLine(line: string, width: number): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of line.split(/(?<= )/)) {
    if (cells(current + word.trimEnd()) <= width) {
      current += word;
      continue;
    }
    if (current !== '') lines.push(current.trimEnd());
    current = '';
    for (const character of word) {
      if (cells(current + character) > width) {
        lines.push(current);
        current = '';
      }
      current += character;
    }
  }
  lines.push(current.trimEnd());
  return lines;
}

/** Terminal cells that a text takes: two for a wide character, none for a combining one. */
export function cells(text: string): number {
  let count = 0;
  for (const character of text) {
    if (/\p{M}|\u200d|\ufe0f/u.test(character)) continue;
    count += wide.test(character) ? 2 : 1;
  }
  return count;
}

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]/u;

/** Without control characters but newlines: a model's output must not command the terminal. */
export function printable(text: string): string {
  return text.replace(/\t/g, '  ').replace(/(?!\n)\p{Cc}/gu, '');
}

function row(entries: string[], each: number): string {
  return entries
    .map((entry) => entry + ' '.repeat(Math.max(0, each - cells(entry))))
    .join(gap)
    .trimEnd();
}

function shorten(text: string, width: number): string {
  const [first = ''] = wrap(text.replaceAll('\n', ' '), width);
  return cells(text) <= width ? first : `${[...first].slice(0, Math.max(0, width - 1)).join('')}…`;
}
