import { describe, expect, it } from 'vitest';
import { type BatchOptions, sampleBatch } from '../../src/train/batch.js';
import { generator } from '../../src/train/random.js';

/** Groups that end in an order of their own; the useful ones are those of even place. */
function options(more: Partial<BatchOptions<number>> & { order?: () => number } = {}) {
  const log = { started: [] as number[], ended: [] as number[], aborted: [] as number[] };
  const delay = more.order ?? (() => 0);
  const all: BatchOptions<number> = {
    first: 0,
    wanted: 3,
    limit: 100,
    yield: 1,
    useful: (place) => place % 2 === 0,
    start: async (place, signal) => {
      log.started.push(place);
      for (let left = Math.floor(20 * delay()); left > 0; left--) {
        await new Promise((resolve) => setImmediate(resolve));
        if (signal.aborted) {
          log.aborted.push(place);
          signal.throwIfAborted();
        }
      }
      log.ended.push(place);
      return place;
    },
    ...more,
  };
  return { all, log };
}

describe('a batch', () => {
  it('holds the first useful groups in order, whoever ends first', async () => {
    for (let seed = 0n; seed < 50n; seed++) {
      const next = generator(seed);
      const { all } = options({ first: 5, order: next, yield: 0.1 + 0.9 * next() });
      expect(await sampleBatch(all)).toEqual({ useful: [6, 8, 10], seen: [5, 6, 7, 8, 9, 10], next: 11 });
    }
  });

  it('is smaller where the limit comes first, and may be empty', async () => {
    expect(await sampleBatch(options({ limit: 4 }).all)).toEqual({
      useful: [0, 2],
      seen: [0, 1, 2, 3],
      next: 4,
    });
    expect(await sampleBatch(options({ limit: 4, useful: () => false }).all)).toMatchObject({ useful: [] });
  });

  it('starts no more than it wants where all are useful, and more ahead where few are', async () => {
    const every = options({ useful: () => true });
    await sampleBatch(every.all);
    expect(every.log.started).toEqual([0, 1, 2]);
    const half = options({ yield: 0.5, order: () => 1 });
    const running = sampleBatch(half.all);
    expect(half.log.started).toEqual([0, 1, 2, 3, 4, 5]);
    await running;
  });

  it('leaves nothing running behind', async () => {
    const { all, log } = options({ yield: 0.2, order: generator(1n) });
    await sampleBatch(all);
    expect(log.ended.length + log.aborted.length).toBe(log.started.length);
    expect(log.aborted.length).toBeGreaterThan(0);
  });

  it('fails with its group, once the others have ended', async () => {
    let running = 0;
    const { all } = options({
      start: async (place, signal) => {
        running++;
        try {
          if (place === 1) throw new Error('no');
          while (!signal.aborted) await new Promise((resolve) => setImmediate(resolve));
          return signal.throwIfAborted() ?? place;
        } finally {
          running--;
        }
      },
    });
    await expect(sampleBatch(all)).rejects.toThrow('no');
    expect(running).toBe(0);
  });
});
