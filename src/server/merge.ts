/**
 * Several event streams as one, each item with the index of its stream, as they come. At most `limit` run at once;
 * the others start as those end. The first error ends all.
 */
export async function* merge<T>(
  starts: readonly (() => AsyncGenerator<T>)[],
  limit: number,
): AsyncGenerator<[index: number, item: T]> {
  const running = new Map<
    number,
    { stream: AsyncGenerator<T>; next: Promise<[number, IteratorResult<T>]> }
  >();
  let started = 0;
  const advance = (index: number, stream: AsyncGenerator<T>) => {
    const next = stream.next().then((result): [number, IteratorResult<T>] => [index, result]);
    // Should another stream fail first, no one waits for this one any more.
    next.catch(() => {});
    running.set(index, { stream, next });
  };
  try {
    while (started < starts.length || running.size > 0) {
      while (running.size < limit && started < starts.length) {
        const stream = starts[started]?.();
        if (stream) advance(started, stream);
        started++;
      }
      const [index, result] = await Promise.race([...running.values()].map(({ next }) => next));
      const stream = running.get(index)?.stream;
      running.delete(index);
      if (result.done || stream === undefined) continue;
      // Asked for before it is passed on: the stream's next step is computed meanwhile.
      advance(index, stream);
      yield [index, result.value];
    }
  } finally {
    for (const { stream } of running.values()) stream.return(undefined).catch(() => {});
  }
}
