/** Tuples, intervals, sets, lists and matrices: answers of several elements. */

export interface Collection {
  /** What has to be the same on both sides beside the elements: brackets, or the shape of a matrix. */
  kind: string;
  /** False where an answer may give the elements in any order. */
  ordered: boolean;
  elements: string[];
}

const UNORDERED = 'set';

/** Undefined where a normalized answer is a single element. */
export function collection(text: string): Collection | undefined {
  const matrix = /^\\begin\{matrix\}(.*)\\end\{matrix\}$/s.exec(text);
  if (matrix !== null && !matrix[1]?.includes('\\begin')) return rows(matrix[1] as string);
  const union = split(text, '\\cup');
  if (union.length > 1) return { kind: 'union', ordered: false, elements: union };
  const bracketed = brackets(text);
  if (bracketed !== undefined) return bracketed;
  const list = split(text, ',').flatMap(plusMinus);
  return list.length > 1 ? { kind: UNORDERED, ordered: false, elements: list } : undefined;
}

/** Undefined where the text is not in one pair of brackets, or they just group. */
function brackets(text: string): Collection | undefined {
  const parts = /^(\\\{|\(|\[|\\langle)(.*)(\\\}|\)|\]|\\rangle)$/s.exec(text);
  if (parts === null) return undefined;
  const [, open, inside, close] = parts as unknown as [string, string, string, string];
  if (!balanced(inside)) return undefined;
  const elements = split(inside, ',');
  if (open === '\\{' && close === '\\}')
    return { kind: UNORDERED, ordered: false, elements: elements.flatMap(plusMinus) };
  return elements.length > 1 ? { kind: `${open}${close}`, ordered: true, elements } : undefined;
}

function rows(text: string): Collection {
  const cells = text
    .replace(/\\\\$/, '')
    .split('\\\\')
    .map((row) => row.split('&'));
  return { kind: `matrix ${cells.map((row) => row.length)}`, ordered: true, elements: cells.flat() };
}

function plusMinus(text: string): string[] {
  if (!/\\pm|\\mp|±/.test(text)) return [text];
  return ['+', '-'].map((sign) =>
    text
      .replace(/\\pm ?|±/g, sign)
      .replace(/\\mp ?/g, sign === '+' ? '-' : '+')
      .replace(/^\+/, ''),
  );
}

/** At separators outside all brackets. A half-open interval's brackets differ, so any closes any. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (depth === 0 && text.startsWith(separator, i)) {
      parts.push(text.slice(start, i));
      start = i + separator.length;
      i = start - 1;
    } else depth += step(text, i);
  }
  parts.push(text.slice(start));
  return parts;
}

function balanced(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    depth += step(text, i);
    if (depth < 0) return false;
  }
  return depth === 0;
}

function step(text: string, i: number): number {
  return '([{'.includes(text[i] as string) ? 1 : ')]}'.includes(text[i] as string) ? -1 : 0;
}
