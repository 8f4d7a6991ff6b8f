/** Strings turned round and joined: one branch a string, which grows letter by letter. */
import { range } from './arithmetic.js';
import type { Family } from './task.js';

const ALPHABET = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];

export const reversal: Family = {
  levels: 4,
  make(draw, difficulty) {
    const strings = draw.list(draw.integer(2, difficulty + 1), () =>
      draw.sample(ALPHABET, draw.integer(3, difficulty + 3)).join(''),
    );
    const turned = strings.map((string) => [...string].reverse().join(''));
    const answer = turned.join('');
    return {
      question: `Reverse ${strings.join(', ')}.`,
      answer,
      blocks: [
        {
          plans: strings,
          // the last letters of the turned string, one more at a time
          steps: turned.map((string) =>
            range(string.length)
              .map((i) => string.slice(string.length - 1 - i))
              .join(', '),
          ),
          takeaway: `${turned.join(' + ')} = ${answer}`,
        },
      ],
    };
  },
};
