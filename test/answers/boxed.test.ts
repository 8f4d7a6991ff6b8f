import { describe, expect, it } from 'vitest';
import { lastBoxed } from '../../src/answers/boxed.js';

describe('lastBoxed', () => {
  const cases: [string, string | undefined][] = [
    ['The answer is \\boxed{42}.', '42'],
    ['\\boxed{1}, no, \\boxed{2}', '2'],
    ['\\boxed{\\frac{1}{2}}', '\\frac{1}{2}'],
    ['\\boxed{\\left\\{ x \\right.}', '\\left\\{ x \\right.'],
    ['\\boxed{}', ''],
    ['\\boxed{1} and \\boxed{2', undefined],
    ['\\boxed{1\\', undefined],
    ['42', undefined],
    ['', undefined],
  ];
  it.each(cases)('of %j', (response, answer) => {
    expect(lastBoxed(response)).toBe(answer);
  });
});
