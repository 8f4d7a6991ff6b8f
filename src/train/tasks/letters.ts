/** How often a letter stands in some strings: one branch a string, counted letter by letter. */
import { runningSum, sum } from './arithmetic.js';
import type { Family } from './task.js';

const ALPHABET = [...'ABC'];

export const letters: Family = {
  levels: 4,
  make(draw, difficulty) {
    const wanted = draw.pick(ALPHABET);
    const strings = draw.list(draw.integer(2, difficulty + 1), () =>
      draw.list(draw.integer(3, difficulty + 4), () => draw.pick(ALPHABET)).join(''),
    );
    const counts = strings.map((string) => [...string].filter((letter) => letter === wanted).length);
    return {
      question: `How many ${wanted} are in ${strings.join(', ')}?`,
      answer: String(sum(counts)),
      blocks: [
        {
          plans: strings.map((string) => `test ${string}`),
          steps: strings.map((string) => counted(string, wanted)),
          takeaway: `${counts.map((count, i) => `${strings[i]} ${count}`).join(', ')}. ${runningSum(counts)}`,
        },
      ],
    };
  },
};

/** `A 1, B 1, A 2`. */
function counted(string: string, wanted: string): string {
  let count = 0;
  return [...string]
    .map((letter) => {
      if (letter === wanted) count++;
      return `${letter} ${count}`;
    })
    .join(', ');
}
