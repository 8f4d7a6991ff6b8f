/**
 * Python's `strip`, `lstrip` and `rstrip` for templates. The template library's own ignore their argument, so that
 * `strip('\n')`, which templates of thinking models use, would take spaces too; and its whitespace is JavaScript's.
 */

/** What str.isspace() accepts: unlike \s with U+001C to U+001F and U+0085, without U+FEFF. */
const WHITESPACE =
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';

type Strip = (text: unknown, characters?: unknown) => string;

function strip(left: boolean, right: boolean): Strip {
  return (text, characters) => {
    if (typeof text !== 'string') throw new Error('only strings can be stripped');
    const set = new Set(typeof characters === 'string' ? characters : WHITESPACE);
    const all = [...text];
    let begin = 0;
    let end = all.length;
    while (left && begin < end && set.has(all[begin] as string)) begin++;
    while (right && begin < end && set.has(all[end - 1] as string)) end--;
    return all.slice(begin, end).join('');
  };
}

/** Variables that a rewritten template calls; no template can name them itself. */
export const STRIP_FUNCTIONS: Readonly<Record<string, Strip>> = {
  $strip: strip(true, true),
  $lstrip: strip(true, false),
  $rstrip: strip(false, true),
};

interface Node {
  type: string;
  [member: string]: unknown;
}

/** Turns each `x.strip(y)` in a parsed template, and each `x | trim`, into a call of ours. Changes it in place. */
export function rewriteStrips(tree: unknown): void {
  if (typeof tree !== 'object' || tree === null) return;
  const children = tree instanceof Map ? [...tree].flat() : Object.values(tree);
  for (const child of children) rewriteStrips(child);
  const node = tree as Node;
  if (node.type === 'CallExpression') {
    const callee = node.callee as Node;
    const method = callee.type === 'MemberExpression' && callee.computed !== true && nameOf(callee.property);
    if (method && `$${method}` in STRIP_FUNCTIONS) {
      node.args = [callee.object, ...(node.args as unknown[])];
      node.callee = { type: 'Identifier', value: `$${method}` };
    }
  } else if (node.type === 'FilterExpression') {
    const filter = node.filter as Node;
    const called = filter.type === 'CallExpression';
    if (nameOf(called ? filter.callee : filter) !== 'trim') return;
    const args = called ? (filter.args as unknown[]) : [];
    Object.assign(node, {
      type: 'CallExpression',
      callee: { type: 'Identifier', value: '$strip' },
      args: [node.operand, ...args],
    });
  }
}

function nameOf(node: unknown): string | undefined {
  const { type, value } = node as Node;
  return type === 'Identifier' ? (value as string) : undefined;
}
