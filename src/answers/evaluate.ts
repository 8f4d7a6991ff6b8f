/** The value of a MathJSON expression (cortexjs.io/math-json) in complex double precision. */
import type { LatexSyntax } from '@cortex-js/compute-engine/latex-syntax';
import { Complex } from 'complex.js';

type Expression = Parameters<LatexSyntax['serialize']>[0];

/** Values of the variables. */
export type Environment = ReadonlyMap<string, Complex>;

const CONSTANTS: Record<string, Complex> = {
  Pi: new Complex(Math.PI, 0),
  e: new Complex(Math.E, 0),
  ExponentialE: new Complex(Math.E, 0),
  i: new Complex(0, 1),
  ImaginaryUnit: new Complex(0, 1),
};

const sum = (terms: Complex[]) => terms.reduce((x, y) => x.add(y), new Complex(0, 0));
const product = (factors: Complex[]) => factors.reduce((x, y) => x.mul(y), new Complex(1, 0));

/** Of any number of operands. */
const VARIADIC: Record<string, (operands: Complex[]) => Complex> = {
  Add: sum,
  Multiply: product,
  InvisibleOperator: product,
};

const UNARY: Record<string, (x: Complex) => Complex | undefined> = {
  Negate: (x) => x.neg(),
  Sqrt: (x) => x.sqrt(),
  Exp: (x) => x.exp(),
  Ln: (x) => x.log(),
  Lb: (x) => x.log().div(Math.LN2),
  Log: (x) => x.log().div(Math.LN10),
  Abs: (x) => new Complex(x.abs(), 0),
  Floor: (x) => x.floor(0),
  Ceil: (x) => x.ceil(0),
  Factorial: factorial,
  Sin: (x) => x.sin(),
  Cos: (x) => x.cos(),
  Tan: (x) => x.tan(),
  Cot: (x) => x.cot(),
  Sec: (x) => x.sec(),
  Csc: (x) => x.csc(),
  Arcsin: (x) => x.asin(),
  Arccos: (x) => x.acos(),
  Arctan: (x) => x.atan(),
  Sinh: (x) => x.sinh(),
  Cosh: (x) => x.cosh(),
  Tanh: (x) => x.tanh(),
  // brackets
  Delimiter: (x) => x,
  List: (x) => x,
};

const BINARY: Record<string, (x: Complex, y: Complex) => Complex | undefined> = {
  Subtract: (x, y) => x.sub(y),
  Divide: (x, y) => x.div(y),
  Power: (x, y) => x.pow(y),
  Root: (x, y) => x.pow(new Complex(1, 0).div(y)),
  Log: (x, y) => x.log().div(y.log()),
  Binomial: binomial,
};

/** Names that stand for no constant, sorted. */
export function variables(expressions: readonly Expression[]): string[] {
  const names = new Set<string>();
  const visit = (expression: Expression): void => {
    if (typeof expression === 'string' && !(expression in CONSTANTS) && !expression.startsWith("'"))
      names.add(expression);
    else if (Array.isArray(expression))
      for (const operand of expression.slice(1)) visit(operand as Expression);
  };
  for (const expression of expressions) visit(expression);
  return [...names].sort();
}

/** Undefined where the expression holds something other than numbers, variables and elementary functions of them. */
export function evaluate(expression: Expression, variables: Environment): Complex | undefined {
  if (typeof expression === 'number') return new Complex(expression, 0);
  if (typeof expression === 'string') return CONSTANTS[expression] ?? variables.get(expression);
  if (!Array.isArray(expression)) return 'num' in expression ? number(String(expression.num)) : undefined;
  const [name, ...rest] = expression as [string, ...Expression[]];
  // the value; the base is how it was written
  const operands = (name === 'BaseForm' ? rest.slice(0, 1) : rest).map((operand) =>
    evaluate(operand, variables),
  );
  if (operands.includes(undefined)) return undefined;
  const [x, y] = operands as [Complex, Complex];
  if (name === 'BaseForm') return x;
  if (Object.hasOwn(VARIADIC, name)) return VARIADIC[name]?.(operands as Complex[]);
  if (operands.length === 1 && Object.hasOwn(UNARY, name)) return UNARY[name]?.(x);
  if (operands.length === 2 && Object.hasOwn(BINARY, name)) return BINARY[name]?.(x, y);
  return undefined;
}

/** `0.(3)` is 0.333... */
function number(text: string): Complex | undefined {
  const value = Number(text.replace(/\((\d+)\)/, (_, digits: string) => digits.repeat(20)));
  return Number.isNaN(value) ? undefined : new Complex(value, 0);
}

function factorial(x: Complex): Complex | undefined {
  return x.im === 0 ? new Complex(gamma(x.re + 1), 0) : undefined;
}

function binomial(n: Complex, k: Complex): Complex | undefined {
  if (n.im !== 0 || k.im !== 0) return undefined;
  return new Complex(gamma(n.re + 1) / (gamma(k.re + 1) * gamma(n.re - k.re + 1)), 0);
}

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** Exact for small whole numbers; else Lanczos' approximation with g = 7, n = 9. */
function gamma(x: number): number {
  if (Number.isInteger(x) && x < 172) {
    if (x <= 0) return Number.POSITIVE_INFINITY;
    let value = 1;
    for (let i = 2; i < x; i++) value *= i;
    return value;
  }
  if (x < 0.5) return Math.PI / (Math.sin(Math.PI * x) * gamma(1 - x));
  const t = x + 6.5;
  const series = LANCZOS.reduce((total, c, i) => total + (i === 0 ? c : c / (x - 1 + i)), 0);
  return Math.sqrt(2 * Math.PI) * t ** (x - 0.5) * Math.exp(-t) * series;
}
