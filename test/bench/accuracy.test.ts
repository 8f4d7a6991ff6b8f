import { describe, expect, it } from 'vitest';
import { accuracyText, compared } from '../../bench/accuracy.js';

describe('accuracy', () => {
  const bf16 = [
    { logprobs: [-1, -2], likeliest: ['a', 'b'], right: true },
    { logprobs: [-3, -4], likeliest: ['c', 'd'], right: true },
  ];
  const int8 = [
    { logprobs: [-1.5, -2], likeliest: ['a', 'b'], right: true },
    { logprobs: [-3, -3], likeliest: ['c', 'x'], right: false },
  ];

  it('compares token by token', () => {
    const accuracy = compared('m', bf16, int8);
    expect(accuracy).toEqual({
      model: 'm',
      traces: 2,
      tokens: 4,
      sameToken: 0.75,
      logprobDifference: { mean: 0.375, max: 1 },
      right: { bf16: 2, int8: 1, both: 1 },
    });
    expect(accuracyText(accuracy)).toContain('75.00%');
  });

  it('shows a number that is missing', () => {
    const [first] = bf16;
    if (first === undefined) throw new Error('no trace');
    const accuracy = compared('m', [first], [{ ...first, logprobs: [-1] }]);
    expect(accuracy.logprobDifference).toEqual({ mean: Number.NaN, max: Number.NaN });
  });
});
