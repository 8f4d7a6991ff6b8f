/** What branches add as it happens, beside a stream in flat order. */
import type { Static } from 'typebox';
import type { EngineEvent } from '../../engine/types.js';
import type { BranchDelta } from '../schemas/common.js';

export class BranchDeltas {
  /** By choice and branch. */
  readonly #numbers = new Map<string, string>();

  /** `first`: the index of the request's first choice in the response. */
  of(events: readonly EngineEvent[], first = 0): Static<typeof BranchDelta>[] {
    const deltas: Static<typeof BranchDelta>[] = [];
    for (const event of events) {
      if (event.type === 'branch_created') {
        this.#numbers.set(`${first + event.choice}/${event.branch}`, event.number);
      }
      if (event.type !== 'delta' || event.branch === 0 || event.text === '') continue;
      const index = first + event.choice;
      const number = this.#numbers.get(`${index}/${event.branch}`) ?? '';
      deltas.push({ index, branch: event.branch, number, text: event.text });
    }
    return deltas;
  }
}
