/** A small logic grid: three letters, three numbers, clues; one branch a case of the first letter. */
import type { Draw } from './draw.js';
import type { Family } from './task.js';

/** Values of a, b, c. */
type Order = readonly [number, number, number];

const LETTERS = ['a', 'b', 'c'] as const;
const CASES = [1, 2, 3] as const;
const ORDERS: readonly Order[] = [
  [1, 2, 3],
  [1, 3, 2],
  [2, 1, 3],
  [2, 3, 1],
  [3, 1, 2],
  [3, 2, 1],
];

interface Clue {
  text: string;
  holds(order: Order): boolean;
}

export const grid: Family = {
  levels: 3,
  make(draw, difficulty) {
    const solution = draw.pick(ORDERS);
    const clues = deciding(draw, solution, difficulty);
    const answer = `(${solution.join(',')})`;
    return {
      question: `a, b, c are 1, 2, 3 in some order: ${clues.map(({ text }) => text).join(', ')}. Compute (a,b,c).`,
      answer,
      blocks: [
        {
          plans: CASES.map((value) => `test a = ${value}`),
          steps: CASES.map((value) =>
            ORDERS.filter(([a]) => a === value)
              .map((order) => trial(order, clues))
              .join('. '),
          ),
          takeaway: `${CASES.map((value) => `a = ${value} ${solution[0] === value ? 'yes' : 'no'}`).join(', ')}, so ${answer}`,
        },
      ],
    };
  },
};

/** Clues that leave just the solution, each of which rules something out. */
function deciding(draw: Draw, solution: Order, difficulty: number): Clue[] {
  const clues: Clue[] = [];
  let left = [...ORDERS];
  const all = possibleClues(difficulty).filter((clue) => clue.holds(solution));
  for (const clue of draw.sample(all, all.length)) {
    const still = left.filter((order) => clue.holds(order));
    if (still.length === left.length) continue;
    clues.push(clue);
    left = still;
    if (left.length === 1) break;
  }
  return clues;
}

/** Comparisons; from difficulty 2 values that a letter has not; from 3 sums. */
function possibleClues(difficulty: number): Clue[] {
  const clues: Clue[] = [];
  for (const [i, x] of LETTERS.entries())
    for (const [j, y] of LETTERS.entries()) {
      if (i === j) continue;
      const values = (order: Order) => [order[i], order[j]] as [number, number];
      clues.push({ text: `${x} + 1 = ${y}`, holds: (order) => values(order)[0] + 1 === values(order)[1] });
      clues.push({ text: `${x} < ${y}`, holds: (order) => values(order)[0] < values(order)[1] });
      for (const total of [3, 4, 5])
        if (difficulty >= 3 && i < j)
          clues.push({
            text: `${x} + ${y} = ${total}`,
            holds: (order) => values(order)[0] + values(order)[1] === total,
          });
    }
  for (const [i, x] of LETTERS.entries())
    for (const value of CASES)
      if (difficulty >= 2) clues.push({ text: `${x} is not ${value}`, holds: (order) => order[i] !== value });
  return clues;
}

/** The clues up to the first that fails. */
function trial(order: Order, clues: readonly Clue[]): string {
  const failing = clues.findIndex((clue) => !clue.holds(order));
  const read = failing < 0 ? clues : clues.slice(0, failing + 1);
  return `${order.join(' ')}: ${read.map(({ text }) => text).join(', ')} ${failing < 0 ? 'yes' : 'no'}`;
}
