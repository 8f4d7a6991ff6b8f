import { describe, expect, it, vi } from 'vitest';
import { Deliveries } from '../../src/engine/deliveries.js';
import { EngineError } from '../../src/engine/errors.js';
import type { EngineEvent } from '../../src/engine/types.js';

/** As the addon writes them; types by their number. */
const started = (id: number) => [id, 0, 4, 1];
const delta = (id: number, text: string) => [id, 2, 0, 0, 0, text.length, 1, 16, 0, 0, 0];
const finished = (id: number) => [id, 8, 4, 1, 3, 0, 0, 0, 3, 1, 2, 3, 0];
const failed = (id: number, message: string) => [id, 9, 6, message.length];

function batch(...events: number[][]): Float64Array {
  return Float64Array.from(events.flat());
}

/** What a request was given, and how it ended. */
function request(deliveries: Deliveries, id: number, take: (events: EngineEvent[]) => void = () => {}) {
  const batches: string[][] = [];
  const ended = deliveries
    .to(id, [], (events) => {
      batches.push(events.map((event) => (event.type === 'delta' ? event.text : event.type)));
      take(events);
    })
    .then(
      () => 'resolved',
      (error: unknown) => error,
    );
  return { batches, ended };
}

describe('deliveries', () => {
  it('hand each request its own events in order, those of a batch at once', async () => {
    const deliveries = new Deliveries();
    const [a, b] = [request(deliveries, 1), request(deliveries, 2)];
    deliveries.deliver(batch(started(1), started(2), delta(1, 'aé'), delta(2, '😀'), delta(1, '')), 'aé😀');
    deliveries.deliver(batch(delta(2, 'b'), finished(1), finished(2)), 'b');
    expect([await a.ended, await b.ended]).toEqual(['resolved', 'resolved']);
    expect(a.batches).toEqual([['started', 'aé', ''], ['finished']]);
    expect(b.batches).toEqual([
      ['started', '😀'],
      ['b', 'finished'],
    ]);
  });

  it('end a request that fails, and no other', async () => {
    const deliveries = new Deliveries();
    const [a, b] = [request(deliveries, 1), request(deliveries, 2)];
    deliveries.deliver(batch(failed(1, 'broken'), delta(2, 'b'), finished(2)), 'brokenb');
    expect(await a.ended).toEqual(new EngineError('internal', 'broken'));
    expect(await b.ended).toBe('resolved');
    expect(a.batches).toEqual([]);
  });

  it('end a request whose reader throws, with that, and no other; what comes for it later is dropped', async () => {
    const deliveries = new Deliveries();
    const thrown = new Error('too slow');
    const a = request(deliveries, 1, () => {
      throw thrown;
    });
    const b = request(deliveries, 2);
    deliveries.deliver(batch(delta(1, 'a'), delta(2, 'b')), 'ab');
    deliveries.deliver(batch(delta(1, 'a'), finished(1), delta(2, 'b'), finished(2)), 'ab');
    expect(await a.ended).toBe(thrown);
    expect(await b.ended).toBe('resolved');
    expect(a.batches).toHaveLength(1);
    expect(b.batches).toHaveLength(2);
  });

  it.each([
    ['ends early', batch(delta(1, 'a'), [2, 2, 0])],
    ['has an unknown type', batch(delta(1, 'a'), [2, 10])],
    ['has an unknown reason', batch(delta(1, 'a'), [2, 7, 0, 4, -1, -1])],
  ])('end every request, with an error, where a batch %s', async (_, numbers) => {
    const deliveries = new Deliveries();
    const all = [1, 2, 3].map((id) => request(deliveries, id));
    deliveries.deliver(numbers, 'a');
    deliveries.deliver(batch(finished(1), finished(2), finished(3)), '');
    for (const { batches, ended } of all) {
      expect(await ended).toMatchObject({ name: 'EngineError', code: 'internal' });
      expect(batches).toEqual([]);
    }
  });

  it('end what is open when the engine closes', async () => {
    const deliveries = new Deliveries();
    const take = vi.fn();
    const a = request(deliveries, 1, take);
    deliveries.endAll(new EngineError('unavailable', 'the engine was closed'));
    expect(await a.ended).toMatchObject({ code: 'unavailable' });
    expect(take).not.toHaveBeenCalled();
  });
});
