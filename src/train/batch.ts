/**
 * Puts a batch of groups together from groups that run at once. Which ones it holds is decided by their order alone, never by
 * who finished first: that would favour short responses.
 */
import { setMaxListeners } from 'node:events';

export interface BatchOptions<G> {
  /** Place of the first group in the order of questions. */
  first: number;
  wanted: number;
  /** Groups that may be looked at, at most. */
  limit: number;
  /** What fraction of the groups will be useful, as far as is known: more are started ahead where it is low. */
  yield: number;
  /** Samples the group at a place; ends soon where `signal` aborts. */
  start(place: number, signal: AbortSignal): Promise<G>;
  useful(group: G): boolean;
}

export interface Batch<G> {
  /** In order; fewer than wanted where the limit came first. */
  useful: G[];
  /** All that were looked at, the useful ones included. */
  seen: G[];
  /** The place of the first group that was not looked at. */
  next: number;
}

/** Rejects with what `start` rejected with. Nothing runs on afterwards. */
export async function sampleBatch<G>(options: BatchOptions<G>): Promise<Batch<G>> {
  const { first, wanted, limit, start } = options;
  const end = first + limit;
  const done = new Map<number, G>();
  const abort = new AbortController();
  setMaxListeners(0, abort.signal); // one a request
  const running = new Map<number, Promise<number>>();
  const batch: Batch<G> = { useful: [], seen: [], next: first };
  let launched = first;
  let known = 0; // useful ones, those whose turn has not come included
  const chance = Math.min(1, Math.max(options.yield, 0.05));

  const launch = () => {
    while (launched < end && known + running.size * chance < wanted) {
      const place = launched++;
      const group = start(place, abort.signal).then((group) => {
        done.set(place, group);
        return place;
      });
      running.set(place, group);
    }
  };

  try {
    while (batch.useful.length < wanted && batch.next < end) {
      launch();
      const place = await Promise.race(running.values());
      running.delete(place);
      if (options.useful(done.get(place) as G)) known++;
      for (let group = done.get(batch.next); group !== undefined; group = done.get(batch.next)) {
        if (batch.useful.length === wanted) break;
        batch.seen.push(group);
        if (options.useful(group)) batch.useful.push(group);
        batch.next++;
      }
    }
    return batch;
  } finally {
    abort.abort();
    await Promise.allSettled(running.values());
  }
}
