/** Two sums of products and their difference, in two rounds: the products, then the sums of them. */
import { range, runningSum, sum, workedProduct } from './arithmetic.js';
import type { Family } from './task.js';

const NAMES = ['a', 'b'];

export const rounds: Family = {
  levels: 2,
  make(draw, difficulty) {
    const product = () => ({ a: draw.integer(2, 20 * difficulty - 11), b: draw.integer(2, 9) });
    const worth = (group: { a: number; b: number }[]) => sum(group.map(({ a, b }) => a * b));
    // the larger one first, so that the difference is not below 0
    const groups = NAMES.map(() => draw.list(draw.integer(2, difficulty + 1), product)).sort(
      (one, other) => worth(other) - worth(one),
    );
    const values = groups.map((group) => group.map(({ a, b }) => a * b));
    const [left, right] = values.map(sum) as [number, number];
    const terms = groups.flat();
    const write = ({ a, b }: { a: number; b: number }) => `${a}*${b}`;
    const definitions = NAMES.map((name, i) => `${name} = ${groups[i]?.map(write).join(' + ')}`);
    return {
      question: `Let ${definitions.join(', ')}. Compute a - b.`,
      answer: String(left - right),
      blocks: [
        {
          plans: terms.map((term) => `compute ${write(term)}`),
          steps: terms.map(({ a, b }) => workedProduct(a, b)),
          takeaway: terms.map(({ a, b }) => `${a}*${b} = ${a * b}`).join(', '),
        },
        {
          plans: NAMES.map((name) => `compute ${name}`),
          steps: range(2).map(
            (i) => `${runningSum(values[i] as number[])}, ${NAMES[i]} = ${sum(values[i] as number[])}`,
          ),
          takeaway: `a = ${left}, b = ${right}. ${runningSum([left, -right])}`,
        },
      ],
    };
  },
};
