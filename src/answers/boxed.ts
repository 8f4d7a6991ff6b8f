/** The answer of a response: what its last `\boxed{}` holds. */

const BOX = '\\boxed{';

/** Undefined where there is no box, or the last one does not close. */
export function lastBoxed(response: string): string | undefined {
  const start = response.lastIndexOf(BOX);
  if (start < 0) return undefined;
  const begin = start + BOX.length;
  let depth = 1;
  for (let i = begin; i < response.length; i++) {
    const char = response[i];
    if (char === '\\')
      i++; // \{ and \} are text, which need not balance: \left\{ ... \right.
    else if (char === '{') depth++;
    else if (char === '}' && --depth === 0) return response.slice(begin, i);
  }
  return undefined;
}
