/** Which of these numbers is prime: one branch a number, tried with small divisors. */
import type { Family } from './task.js';

export const primes: Family = {
  levels: 4,
  make(draw, difficulty) {
    const count = draw.integer(2, difficulty + 1);
    const found = draw.integer(0, count - 1);
    const numbers: number[] = [];
    while (numbers.length < count) {
      const number = draw.integer(11, 20 + 25 * difficulty);
      if (!numbers.includes(number) && trial(number).prime === (numbers.length === found))
        numbers.push(number);
    }
    return {
      question: `Which of ${numbers.join(', ')} is prime?`,
      answer: String(numbers[found]),
      blocks: [
        {
          plans: numbers.map((number) => `test ${number}`),
          steps: numbers.map((number) => trial(number).text),
          takeaway: numbers.map((number, i) => `${number} ${i === found ? 'yes' : 'no'}`).join(', '),
        },
      ],
    };
  },
};

function trial(number: number): { text: string; prime: boolean } {
  const lines: string[] = [];
  for (const divisor of [2, 3, 5, 7].filter((divisor) => divisor ** 2 <= number)) {
    const rest = number % divisor;
    lines.push(`${number} mod ${divisor} = ${rest}`);
    if (rest === 0) return { text: `${lines.join(', ')}, so ${number} is not prime`, prime: false };
  }
  return { text: `${lines.join(', ')}, so ${number} is prime`, prime: true };
}
