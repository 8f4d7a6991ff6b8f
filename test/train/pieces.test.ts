import { describe, expect, it } from 'vitest';
import { batchAdvantages, groupAdvantages, uniform } from '../../src/train/advantages.js';
import { learningRate } from '../../src/train/learning_rate.js';
import { EpochOrder } from '../../src/train/order.js';
import { fraction, generator, permutation, seedOf } from '../../src/train/random.js';

describe('advantages', () => {
  it("DAPO's: over the group's own deviation, which is unbiased", () => {
    const [one, two] = groupAdvantages([
      [1, -1, -1, -1],
      [0, 2],
    ]);
    // mean -0.5, deviation 1; mean 1, deviation sqrt(2)
    expect(one).toEqual([1.5, -0.5, -0.5, -0.5].map((value) => expect.closeTo(value, 5)));
    expect(two).toEqual([-Math.SQRT1_2, Math.SQRT1_2].map((value) => expect.closeTo(value, 5)));
  });

  it("PAPO's: from the group's mean, over the batch's deviation", () => {
    const groups = [[1, 1, -1], [1, -1], [1]];
    // batch: four of 1, two of -1: mean 1/3, unbiased deviation sqrt(16/15)
    const deviation = Math.sqrt(16 / 15) + 1e-6;
    const expected = [[2 / 3, 2 / 3, -4 / 3], [1, -1], [0]];
    for (const [i, group] of batchAdvantages(groups).entries())
      expect(group).toEqual((expected[i] ?? []).map((value) => expect.closeTo(value / deviation, 12)));
  });

  it('are 0 without a difference, and finite without anything', () => {
    expect(batchAdvantages([[1, 1], [1]])).toEqual([[0, 0], [0]]);
    expect(groupAdvantages([[1, 1]])).toEqual([[0, 0]]);
    // whose mean is not the same float
    expect(batchAdvantages([[0.1, 0.1, 0.1]])).toEqual([[0, 0, 0]]);
    expect(batchAdvantages([])).toEqual([]);
    expect([[], [1], [1, 1], [1, 2]].map(uniform)).toEqual([true, true, true, false]);
  });
});

describe('the learning rate', () => {
  const rates = (kind: 'constant' | 'cosine', warmup_steps: number, steps: number) =>
    Array.from({ length: steps }, (_, step) =>
      learningRate(1, { kind, warmup_steps, final_lr: 0.5 }, step, steps),
    );

  it('warms up to its peak, by steps or by their share', () => {
    expect(rates('constant', 4, 6)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
    expect(rates('constant', 0, 2)).toEqual([1, 1]);
    expect(rates('constant', 0.5, 4)).toEqual([0.5, 1, 1, 1]);
  });

  it('falls along a cosine to where it ends', () => {
    const cosine = rates('cosine', 2, 7);
    expect(cosine[2]).toBe(1);
    expect(cosine[4]).toBeCloseTo(0.75, 12);
    expect(cosine[6]).toBeCloseTo(0.5, 12);
    expect(rates('cosine', 0, 1)).toEqual([1]);
  });
});

describe('chance', () => {
  it('orders every epoch anew, each example once', () => {
    const order = new EpochOrder(10, 7, 'x');
    const epochs = [0, 1].map((epoch) => Array.from({ length: 10 }, (_, i) => order.at(epoch * 10 + i)));
    for (const epoch of epochs) expect(epoch.toSorted((a, b) => a - b)).toEqual([...Array(10).keys()]);
    expect(epochs[0]).not.toEqual(epochs[1]);
    // whatever was asked for before
    expect(new EpochOrder(10, 7, 'x').at(13)).toBe(epochs[1]?.[3]);
    expect(() => new EpochOrder(0, 7)).toThrow(RangeError);
  });

  it('depends on every part, and is even', () => {
    expect(seedOf(1, 'a', 2)).not.toBe(seedOf(1, 'a', 3));
    expect(seedOf(1, 23)).not.toBe(seedOf(12, 3));
    const draws = Array.from({ length: 2000 }, (_, i) => fraction(1, i));
    const next = generator(3n);
    const numbers = Array.from({ length: 2000 }, next);
    for (const values of [draws, numbers])
      for (const bound of [0.25, 0.5, 0.75])
        expect(Math.abs(values.filter((value) => value < bound).length / 2000 - bound)).toBeLessThan(0.05);
  });

  it('permutes in every way', () => {
    const seen = new Set(Array.from({ length: 200 }, (_, i) => permutation(3, BigInt(i)).join('')));
    expect(seen.size).toBe(6);
  });
});
