/** Sums of products: one branch a product. */
import { runningSum, sum, workedProduct } from './arithmetic.js';
import type { Family } from './task.js';

export const products: Family = {
  levels: 4,
  make(draw, difficulty) {
    const largest = 9 + 30 * (difficulty - 1);
    let total = 0;
    const terms = draw.list(draw.integer(2, difficulty + 2), () => {
      const [a, b] = [draw.integer(2, largest), draw.integer(2, 9)];
      // never below 0
      const sign = draw.chance(1 / 3) && a * b <= total ? -1 : 1;
      total += sign * a * b;
      return { a, b, sign };
    });
    const values = terms.map(({ a, b, sign }) => sign * a * b);
    const written = terms.map(({ a, b, sign }, i) => `${i === 0 ? '' : sign < 0 ? ' - ' : ' + '}${a}*${b}`);
    return {
      question: `Compute ${written.join('')}.`,
      answer: String(sum(values)),
      blocks: [
        {
          plans: terms.map(({ a, b }) => `compute ${a}*${b}`),
          steps: terms.map(({ a, b }) => workedProduct(a, b)),
          takeaway: `${terms.map(({ a, b }) => `${a}*${b} = ${a * b}`).join(', ')}. ${runningSum(values)}`,
        },
      ],
    };
  },
};
