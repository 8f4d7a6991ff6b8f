/** Plain decimal numbers, and when two are the same answer. */

/** Of a value that was written as a decimal. */
export const TOLERANCE = 1e-4;

const GROUPED = /^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$/;
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const INTEGER = /^[+-]?\d+$/;

export function withoutPercent(text: string): { text: string; percent: boolean } {
  return text.endsWith('%') ? { text: text.slice(0, -1), percent: true } : { text, percent: false };
}

/**
 * Whether two numbers are one answer; undefined where either text is no plain number. Integers have to be the same:
 * both are exact. Otherwise a relative error of 1e-4 is allowed. A number with a percent sign equals its hundredth too.
 */
export function sameNumber(a: string, b: string): boolean | undefined {
  const left = withoutPercent(a);
  const right = withoutPercent(b);
  const x = plainNumber(left.text);
  const y = plainNumber(right.text);
  if (x === undefined || y === undefined) return undefined;
  if (INTEGER.test(x) && INTEGER.test(y) && left.percent === right.percent) return BigInt(x) === BigInt(y);
  return asPercentages(left.percent, right.percent).some(([p, q]) => close(Number(x) * p, Number(y) * q));
}

/**
 * Factors for the two sides, of which one pair has to make them equal: where just one has a percent sign, it may stand
 * for its hundredth.
 */
export function asPercentages(left: boolean, right: boolean): [number, number][] {
  if (left === right) return [[1, 1]];
  return [[1, 1], left ? [0.01, 1] : [1, 0.01]];
}

function close(x: number, y: number): boolean {
  return x === y || Math.abs(x - y) <= TOLERANCE * Math.max(Math.abs(x), Math.abs(y));
}

function plainNumber(text: string): string | undefined {
  const digits = GROUPED.test(text) ? text.replaceAll(',', '') : text;
  return DECIMAL.test(digits) ? digits : undefined;
}
