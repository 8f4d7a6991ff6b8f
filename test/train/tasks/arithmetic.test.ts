import { expect, it } from 'vitest';
import { runningSum } from '../../../src/train/tasks/arithmetic.js';

it('adds and takes away place by place, to the sum of all', () => {
  expect(runningSum([12, 30, -7])).toBe('12 + 30 = 42, 42 - 7 = 35');
  expect(runningSum([99, -46])).toBe('99 - 40 = 59, 59 - 6 = 53');
  expect(runningSum([95, 108])).toBe('95 + 100 = 195, 195 + 8 = 203');
  expect(runningSum([3, 0])).toBe('3 + 0 = 3');
  expect(runningSum([5])).toBe('5');
});
