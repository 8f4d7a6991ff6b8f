/** The candidate closest to a mistyped name, or undefined where none is close. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  // A third of the letters may be wrong: enough for a slip, too little to guess.
  let bound = Math.max(1, Math.floor(name.length / 3)) + 1;
  let best: string | undefined;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bound) {
      bound = distance;
      best = candidate;
    }
  }
  return best;
}

/** ` (did you mean ...?)`, or nothing. */
export function suggestion(name: string, candidates: Iterable<string>): string {
  const match = nearest(name, candidates);
  return match === undefined ? '' : ` (did you mean '${match}'?)`;
}

/** Insertions, deletions, substitutions and swaps of neighbours from one string to the other. */
function editDistance(a: string, b: string): number {
  // Names here are short; a hostile 1 MB field name must not cost 1 MB times every candidate.
  if (a.length > 64) return a.length;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : substitute;
      next.push(Math.min(substitute, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}
