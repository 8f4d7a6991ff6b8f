/**
 * Runs tasks in their order, at most `limit` at once; the others start as those end. Rejects with the first error, and
 * starts no more after it.
 */
export async function runAll(tasks: readonly (() => Promise<void>)[], limit: number): Promise<void> {
  const left = [...tasks];
  const worker = async () => {
    try {
      for (let task = left.shift(); task !== undefined; task = left.shift()) await task();
    } catch (error) {
      left.length = 0;
      throw error;
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, tasks.length) }, worker));
}
