/** Whether two answers are the same. */
import { bounded } from './bounded.js';
import { collection } from './collection.js';
import { normalize } from './normalize.js';
import { sameNumber } from './number.js';
import { loadSyntax, sameEquation, sameValue } from './symbolic.js';

/** Longer answers are compared as strings. */
const MAX_LENGTH = 500;
/** Milliseconds. An answer takes one or two; a parser's backtracking may take forever. */
const TIMEOUT = 1000;

const WORD = /^[a-zA-Z][a-zA-Z.'-]{2,}$/;

/**
 * As a string once both are normalized, as a number, element by element, or symbolically. Takes at most a second,
 * whatever the answers hold: one that takes longer, or that something fails at, is wrong.
 */
export function equalAnswers(given: string, expected: string): boolean {
  if (given.trim() === expected.trim()) return true;
  if (given.length > MAX_LENGTH || expected.length > MAX_LENGTH) return false;
  const started = performance.now();
  const plain = attempt(TIMEOUT, () => {
    const [a, b] = [normalize(given), normalize(expected)] as const;
    return { a, b, equal: plainlyEqual(a, b) };
  });
  if (plain === undefined) return false;
  if (plain.equal !== undefined) return plain.equal;
  const left = TIMEOUT - (performance.now() - started);
  loadSyntax(); // not to be interrupted
  return attempt(left, () => equal(plain.a, plain.b)) ?? false;
}

/** Undefined where `work` fails or is ended: an answer of any kind ends no run. */
function attempt<T>(timeout: number, work: () => T): T | undefined {
  try {
    return bounded(Math.max(1, Math.ceil(timeout)), work);
  } catch {
    return undefined;
  }
}

function equal(a: string, b: string): boolean {
  return plainlyEqual(a, b) ?? equalRelations(a, b) ?? equalCollections(a, b) ?? sameValue(a, b);
}

/** As strings or numbers; undefined where that does not decide. */
function plainlyEqual(a: string, b: string): boolean | undefined {
  if (a === b) return true;
  if (a === '' || b === '') return false;
  // words are no products of their letters
  if (WORD.test(a) && WORD.test(b)) return a.toLowerCase() === b.toLowerCase();
  // 58,500 may be two numbers
  return a.includes(',') && b.includes(',') ? undefined : sameNumber(a, b);
}

/** `x = 5` and `5` are the same answer, as are an equation and its multiple. Undefined where neither is a relation. */
function equalRelations(a: string, b: string): boolean | undefined {
  const left = relation(a);
  const right = relation(b);
  if (left === undefined && right === undefined) return undefined;
  if (left === undefined || right === undefined) {
    const named = (left ?? right) as Relation;
    const other = left === undefined ? a : b;
    return names(named) && equal(named.right, other);
  }
  if (left.sign !== right.sign) return false;
  if (equal(left.left, right.left) && equal(left.right, right.right)) return true;
  return left.sign === '=' && sameEquation([left.left, left.right], [right.left, right.right]);
}

interface Relation {
  left: string;
  sign: string;
  right: string;
}

function relation(text: string): Relation | undefined {
  const parts = /^([^=<>,]+?)(=|<|>|\\le(?![a-z]) ?|\\ge(?![a-z]) ?|\\in(?![a-z]) ?)([^=<>]+)$/.exec(text);
  if (parts === null || /\\(?:le|ge|in)(?![a-z])/.test(parts[3] as string)) return undefined;
  return { left: parts[1] as string, sign: (parts[2] as string).trim(), right: parts[3] as string };
}

/** Gives something a name, as in `x =`, `f(x) =` or `x \in`. */
function names({ left, sign }: Relation): boolean {
  return (
    (sign === '=' || sign === '\\in') &&
    /^\\?[a-zA-Z]+(?:_(?:\w|\{[^{}]*\}))?(?:\([a-z](?:,[a-z])*\))?$/.test(left)
  );
}

/** Undefined where neither is a collection. */
function equalCollections(a: string, b: string): boolean | undefined {
  const left = collection(a);
  const right = collection(b);
  if (left === undefined && right === undefined) return undefined;
  const x = left ?? { kind: right?.kind, ordered: false, elements: [a] };
  const y = right ?? { kind: left?.kind, ordered: false, elements: [b] };
  if (x.kind !== y.kind || x.ordered !== y.ordered || x.elements.length !== y.elements.length) return false;
  if (x.ordered) return x.elements.every((element, i) => equal(element, y.elements[i] as string));
  const rest = [...y.elements];
  return x.elements.every((element) => {
    const found = rest.findIndex((other) => equal(element, other));
    if (found >= 0) rest.splice(found, 1);
    return found >= 0;
  });
}
