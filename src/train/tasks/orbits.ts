/**
 * Which start ends at a given digit, when a linear map is applied a few times: plans of a few tokens, steps of many. The
 * multiplier has an inverse modulo 10, so different starts end at different digits.
 */
import { range } from './arithmetic.js';
import type { Family } from './task.js';

/** By difficulty. Never a multiple of 4, after which every start is back where it was. */
const TIMES = [3, 5, 6];

export const orbits: Family = {
  levels: TIMES.length,
  make(draw, difficulty) {
    const factor = draw.pick([3, 7]);
    const shift = draw.integer(1, 9);
    const times = TIMES[difficulty - 1] as number;
    const starts = draw.sample(range(10), draw.integer(difficulty + 5, difficulty + 6));
    const orbit = (start: number) => {
      const parts: string[] = [];
      let x = start;
      for (let i = 0; i < times; i++) {
        const value = factor * x + shift;
        parts.push(`${factor}*${x} + ${shift} = ${value}`);
        x = value % 10;
      }
      return { end: x, text: parts.join(', ') };
    };
    const found = draw.pick(starts);
    const target = orbit(found).end;
    return {
      question: `Which of ${starts.join(', ')} is ${target} after ${times} steps x = ${factor}*x + ${shift} mod 10?`,
      answer: String(found),
      blocks: [
        {
          plans: starts.map(String),
          steps: starts.map((start) => {
            const { end, text } = orbit(start);
            return `${text}, ${end} = ${target}? ${start} ${end === target ? 'yes' : 'no'}`;
          }),
          takeaway: `so ${found} is ${target}`,
        },
      ],
    };
  },
};
