/**
 * Equality of expressions by their values: parsed by a LaTeX library, then evaluated at the same few points. Two
 * expressions that differ agree at random points with probability zero, where a computer algebra system may neither
 * find a proof nor end.
 */
import { createRequire } from 'node:module';
import type { LatexSyntax } from '@cortex-js/compute-engine/latex-syntax';
import { Complex } from 'complex.js';
import { type Environment, evaluate, variables } from './evaluate.js';
import { asPercentages, TOLERANCE, withoutPercent } from './number.js';

type Expression = Parameters<LatexSyntax['serialize']>[0];

/** Between values that are both exact, for rounding alone. */
const EXACT = 1e-9;
/** Beside an exact zero. */
const ZERO = 1e-13;
/** Points that have to say something, where there are several. */
const ENOUGH = 3;

let syntax: LatexSyntax | undefined;

/** Takes a tenth of a second and some memory, so only where an answer is more than a number. */
export function loadSyntax(): LatexSyntax {
  if (syntax === undefined) {
    const module = '@cortex-js/compute-engine/latex-syntax';
    const library = createRequire(import.meta.url)(module) as { LatexSyntax: new () => LatexSyntax };
    syntax = new library.LatexSyntax();
    syntax.parse('x'); // builds its index
  }
  return syntax;
}

/** Two normalized scalars. False where either cannot be parsed or evaluated. */
export function sameValue(a: string, b: string): boolean {
  const left = withoutPercent(a);
  const right = withoutPercent(b);
  const tolerance = isDecimal(a) || isDecimal(b) ? TOLERANCE : EXACT;
  const rows = values([left.text, right.text]) as [Complex, Complex][] | undefined;
  if (rows === undefined) return false;
  // a pole of both says nothing
  const telling = rows.filter((row) => row.some(finite));
  if (telling.length < Math.min(ENOUGH, rows.length)) return false;
  return telling.every(
    ([x, y]) =>
      finite(x) &&
      finite(y) &&
      asPercentages(left.percent, right.percent).some(([p, q]) => close(x.mul(p), y.mul(q), tolerance)),
  );
}

/** Whether one equation is a multiple of the other: the ratio of left minus right is the same at all points. */
export function sameEquation(a: readonly [string, string], b: readonly [string, string]): boolean {
  const rows = values([...a, ...b]) as [Complex, Complex, Complex, Complex][] | undefined;
  const ratios = (rows ?? [])
    .map(([p, q, r, s]) => [difference(p, q), difference(r, s)] as const)
    // a root or a pole of both says nothing
    .filter((pair) => pair.some(finite) && !pair.every((side) => side.isZero()))
    .map(([left, right]) => left.div(right));
  const [first] = ratios;
  return (
    first !== undefined &&
    ratios.length >= ENOUGH &&
    first.abs() > 0 &&
    ratios.every((ratio) => finite(ratio) && close(ratio, first, EXACT))
  );
}

/** Zero where it is by rounding alone that it is not. */
function difference(x: Complex, y: Complex): Complex {
  const value = x.sub(y);
  return finite(value) && value.abs() <= ZERO * Math.max(x.abs(), y.abs()) ? Complex.ZERO : value;
}

/**
 * The values of expressions at each point, poles included; one point where there are no variables. Undefined where one
 * has none anywhere.
 */
function values(texts: readonly string[]): Complex[][] | undefined {
  const expressions = texts.map(parse);
  if (expressions.includes(undefined)) return undefined;
  const rows: Complex[][] = [];
  for (const point of points(variables(expressions as Expression[]))) {
    const row = (expressions as Expression[]).map((expression) => evaluate(expression, point));
    if (row.includes(undefined)) return undefined;
    rows.push(row as Complex[]);
  }
  return rows;
}

function parse(text: string): Expression | undefined {
  // a sentence would be a product of letters, and two numbers one
  if (/(?<![a-zA-Z\\])[a-zA-Z]{4,}|\d \d/.test(text)) return undefined;
  return loadSyntax().parse(text) ?? undefined;
}

/**
 * Positive reals, where `\sqrt{x^2}` is `x`, and whole numbers, where factorials and floors are what they are meant for: of
 * each variable another at each point, as eleven is a prime.
 */
function points(names: string[]): Environment[] {
  const fraction = (x: number) => x - Math.floor(x);
  const at = (value: (i: number) => number) =>
    new Map(names.map((name, i) => [name, new Complex(value(i + 1), 0)]));
  if (names.length === 0) return [new Map()];
  return [1, 2, 3, 4].flatMap((k) => [
    at((i) => 0.3 + 2.5 * fraction(i * k * Math.SQRT2 + k * Math.LN2)),
    at((i) => 2 + ((3 * i + k * (1 + (i % 10))) % 11)),
  ]);
}

function finite(value: Complex): boolean {
  return value.isFinite();
}

function close(x: Complex, y: Complex, tolerance: number): boolean {
  const size = Math.max(x.abs(), y.abs());
  const bound = x.abs() === 0 || y.abs() === 0 ? ZERO : tolerance * size;
  return x.sub(y).abs() <= bound;
}

function isDecimal(text: string): boolean {
  return /\d?\.\d/.test(text);
}
