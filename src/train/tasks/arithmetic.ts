/** Worked arithmetic that several families share. */

/** `20*9 = 180, 7*9 = 63, 27*9 = 243`: tens, ones, and both. */
export function workedProduct(a: number, b: number): string {
  const ones = a % 10;
  const tens = a - ones;
  const whole = `${a}*${b} = ${a * b}`;
  return tens > 0 && ones > 0 ? `${tens}*${b} = ${tens * b}, ${ones}*${b} = ${ones * b}, ${whole}` : whole;
}

/** `12 + 30 = 42, 42 - 7 = 35`, of values that are added or, where negative, taken away, a place at a time. */
export function runningSum(values: readonly number[]): string {
  let total = values[0] as number;
  const parts = values.slice(1).flatMap((value) =>
    places(value).map((part) => {
      const before = total;
      total += part;
      return `${before} ${value < 0 ? '-' : '+'} ${Math.abs(part)} = ${total}`;
    }),
  );
  return parts.length === 0 ? String(total) : parts.join(', ');
}

/** 48 as 40 and 8: each has one digit that is not 0. */
function places(value: number): number[] {
  const parts: number[] = [];
  for (let unit = 1, rest = value; rest !== 0; unit *= 10, rest = Math.trunc(rest / 10))
    if (rest % 10 !== 0) parts.unshift((rest % 10) * unit);
  return parts.length === 0 ? [value] : parts;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** 0 .. n - 1. */
export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
