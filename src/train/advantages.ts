/** How much better than its group each response was. A group's scores in, one advantage for each out. */

const EPSILON = 1e-6;

/** DAPO's, as GRPO's: (score - the group's mean) / (the group's deviation + 1e-6). */
export function groupAdvantages(groups: readonly number[][]): number[][] {
  return groups.map((scores) => {
    if (uniform(scores)) return scores.map(() => 0); // the mean of equal scores may differ from them by a rounding
    const center = mean(scores);
    const scale = deviation(scores) + EPSILON;
    return scores.map((score) => (score - center) / scale);
  });
}

/**
 * PAPO's: (score - the group's mean) / (the batch's deviation + 1e-6). What is left of groups whose invalid responses were
 * filtered out is often too uniform for a deviation of its own; the only one left of a group gets 0.
 */
export function batchAdvantages(groups: readonly number[][]): number[][] {
  const scale = deviation(groups.flat()) + EPSILON;
  return groups.map((scores) => {
    if (uniform(scores)) return scores.map(() => 0);
    const center = mean(scores);
    return scores.map((score) => (score - center) / scale);
  });
}

/** No score differs from another: nothing to learn from. So it is with less than two. */
export function uniform(scores: readonly number[]): boolean {
  return scores.every((score) => score === scores[0]);
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Unbiased; 0 of less than two values. */
function deviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const center = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1));
}
