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
  const pairs = values([left.text, right.text]);
  return (
    pairs?.every(([x, y]) =>
      asPercentages(left.percent, right.percent).some(([p, q]) =>
        close((x as Complex).mul(p), (y as Complex).mul(q), tolerance),
      ),
    ) ?? false
  );
}

/** Whether one equation is a multiple of the other: the ratio of left minus right is the same at all points. */
export function sameEquation(a: readonly [string, string], b: readonly [string, string]): boolean {
  const rows = values([...a, ...b]);
  if (rows === undefined || rows.length < 2) return false;
  const ratios = (rows as [Complex, Complex, Complex, Complex][]).map(([p, q, r, s]) =>
    p.sub(q).div(r.sub(s)),
  );
  const first = ratios[0] as Complex;
  return first.abs() > 0 && ratios.every((ratio) => close(ratio, first, EXACT));
}

/** The values of expressions at each point; one point where there are no variables. Undefined where one has none. */
function values(texts: readonly string[]): Complex[][] | undefined {
  const expressions = texts.map(parse);
  if (expressions.includes(undefined)) return undefined;
  const rows: Complex[][] = [];
  for (const point of points(variables(expressions as Expression[]))) {
    const row = (expressions as Expression[]).map((expression) => evaluate(expression, point));
    if (!row.every((value) => value?.isFinite())) return undefined;
    rows.push(row as Complex[]);
  }
  return rows;
}

function parse(text: string): Expression | undefined {
  // a sentence would be a product of letters
  if (/(?<![a-zA-Z\\])[a-zA-Z]{4,}/.test(text)) return undefined;
  return loadSyntax().parse(text) ?? undefined;
}

/** Positive reals, where `\sqrt{x^2}` is `x`, and whole numbers, where factorials and floors are what they are meant for. */
function points(names: string[]): Environment[] {
  const fraction = (x: number) => x - Math.floor(x);
  const at = (value: (i: number) => number) =>
    new Map(names.map((name, i) => [name, new Complex(value(i + 1), 0)]));
  if (names.length === 0) return [new Map()];
  return [1, 2, 3, 4].flatMap((k) => [
    at((i) => 0.3 + 2.5 * fraction(i * k * Math.SQRT2 + k * Math.LN2)),
    at((i) => 2 + Math.floor(9 * fraction(i * k * Math.E + k * Math.LN10))),
  ]);
}

function close(x: Complex, y: Complex, tolerance: number): boolean {
  const size = Math.max(x.abs(), y.abs());
  const bound = x.abs() === 0 || y.abs() === 0 ? ZERO : tolerance * size;
  return x.sub(y).abs() <= bound;
}

function isDecimal(text: string): boolean {
  return /\d?\.\d/.test(text);
}
