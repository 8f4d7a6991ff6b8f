/** Answers of tasks from their questions alone, by other means than the families'. */

const numbers = (text: string) => (text.match(/\d+/g) ?? []).map(Number);
const words = (text: string) => text.match(/[A-Z]{2,}/g) ?? [];

function evaluate(sum: string): number {
  const terms = sum.replaceAll(' - ', ' + -').split(' + ');
  return terms.reduce((total, term) => {
    const sign = term.startsWith('-') ? -1 : 1;
    return total + sign * numbers(term).reduce((x, y) => x * y);
  }, 0);
}

function permutations(): number[][] {
  return [123, 132, 213, 231, 312, 321].map((n) => [...String(n)].map(Number));
}

function holds(clue: string, order: readonly number[]): boolean {
  const value = (name: string) => (/\d/.test(name) ? Number(name) : (order['abc'.indexOf(name)] as number));
  const parts = clue.split(' ');
  if (parts[1] === 'is') return value(parts[0] as string) !== value(parts[3] as string);
  if (parts[1] === '<') return value(parts[0] as string) < value(parts[2] as string);
  return value(parts[0] as string) + value(parts[2] as string) === value(parts[4] as string);
}

/** Every answer that fits; a sound task has one. */
export const SOLVERS: Record<string, (question: string) => string[]> = {
  products: (q) => [String(evaluate(q.slice('Compute '.length, -1)))],
  primes: (q) =>
    numbers(q)
      .filter((n) => Array.from({ length: n - 2 }, (_, i) => i + 2).every((d) => n % d !== 0))
      .map(String),
  rounds: (q) => {
    const [, a, b] = /a = (.*), b = (.*)\. C/.exec(q) as unknown as [string, string, string];
    return [String(evaluate(a) - evaluate(b))];
  },
  orbits: (q) => {
    const [, starts, target, times, m, c] =
      /of (.*) is (\d) after (\d) steps x = (\d)\*x \+ (\d) mod 10/.exec(q) as unknown as string[];
    const end = (start: number) => {
      // closed form: m^t x + c (m^(t-1) + ... + 1)
      let power = 1;
      let shift = 0;
      for (let i = 0; i < Number(times); i++) {
        shift += power;
        power *= Number(m);
      }
      return (power * start + shift * Number(c)) % 10;
    };
    return numbers(starts as string)
      .filter((start) => end(start) === Number(target))
      .map(String);
  },
  pairs: (q) => {
    const [total, product, ...candidates] = numbers(q) as [number, number, ...number[]];
    return candidates.filter((x) => x * (total - x) === product).map((x) => `(${x},${total - x})`);
  },
  grid: (q) => {
    const clues = (q.split('order: ')[1] as string).replace('. Compute (a,b,c).', '').split(', ');
    return permutations()
      .filter((order) => clues.every((clue) => holds(clue, order)))
      .map((order) => `(${order.join(',')})`);
  },
  reversal: (q) => [
    words(q)
      .map((word) => [...word].reverse().join(''))
      .join(''),
  ],
  letters: (q) => {
    const wanted = /many ([A-Z]) are/.exec(q)?.[1] as string;
    return [String(words(q).join('').split(wanted).length - 1)];
  },
};
