import { describe, expect, it } from 'vitest';
import { spread } from '../../bench/spread.js';
import { number, table } from '../../bench/table.js';

describe('spread', () => {
  it('is median, smallest and largest, whatever the order', () => {
    expect(spread([3, 10, 1])).toEqual({ median: 3, min: 1, max: 10 });
    expect(spread([4, 10, 2, 1])).toEqual({ median: 3, min: 1, max: 10 });
    expect(spread([7])).toEqual({ median: 7, min: 7, max: 7 });
  });
});

describe('a table', () => {
  it('writes three digits', () => {
    expect([0.01234, 0.5, 1.234, 12.34, 123.4, 12345, 0, -1.5].map(number)).toEqual([
      '0.012',
      '0.500',
      '1.23',
      '12.3',
      '123',
      '12345',
      '0.00',
      '-1.50',
    ]);
  });

  it('aligns numbers to the right', () => {
    const text = table(
      ['', 'tokens/s'],
      [
        ['one', '5'],
        ['sixteen', '12.5'],
      ],
    );
    expect(text).toBe('         tokens/s\n-------  --------\none             5\nsixteen      12.5');
  });
});
