/** A small search: which of some candidates for one number of a pair gives the product. */
import { workedProduct } from './arithmetic.js';
import type { Family } from './task.js';

export const pairs: Family = {
  levels: 4,
  make(draw, difficulty) {
    // x < total / 2 throughout, where x * (total - x) is never the same twice
    const candidates = draw.sample([2, 3, 4, 5, 6, 7, 8, 9], draw.integer(2, difficulty + 1));
    const total = draw.integer(19, 19 + 5 * difficulty);
    const x = draw.pick(candidates);
    const product = x * (total - x);
    return {
      question: `x + y = ${total}, x*y = ${product}, x is one of ${candidates.join(', ')}. Compute (x,y).`,
      answer: `(${x},${total - x})`,
      blocks: [
        {
          plans: candidates.map((candidate) => `test ${candidate}`),
          steps: candidates.map((candidate) => {
            const y = total - candidate;
            const verdict = candidate === x ? 'yes' : 'no';
            return `${total} - ${candidate} = ${y}, ${workedProduct(y, candidate)}, ${candidate * y} = ${product}? ${candidate} ${verdict}`;
          }),
          takeaway: `x = ${x}, y = ${total} - ${x} = ${total - x}`,
        },
      ],
    };
  },
};
