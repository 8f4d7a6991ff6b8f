/** Puts the deltas of branches that run at once into flat order, as they come. */
import type { EngineEvent } from '../engine/types.js';

export type Delta = Extract<EngineEvent, { type: 'delta' }>;

/** One branch's output that has not been passed on. */
interface Line {
  readonly branch: number;
  queue: (Delta | Fork)[];
  /** Where in the queue the next one stands; what is before it has been passed on. */
  head: number;
  completed: boolean;
}

/** The place in a branch's output where its block's branches go. */
interface Fork {
  type: 'fork';
  readonly block: number;
  readonly branches: (Line | undefined)[];
  /** The branch that is passed on live; the later ones wait. */
  next: number;
}

/**
 * The order of one choice. Of every block, the first branch that is not completed is live and its deltas pass straight
 * through; later branches and whatever the parent writes after the block wait for their turn. Relies on the events'
 * order within one branch alone: any interleaving of branches gives the same output.
 */
export class FlatOrder {
  readonly #trunk: Line = { branch: 0, queue: [], head: 0, completed: false };
  /** Branches that may still write, or whose output waits. */
  readonly #lines = new Map<number, Line>([[0, this.#trunk]]);
  /** By parent and block: how many branches a block will have. */
  readonly #plans = new Map<string, number>();
  /** The live branch of each open block, the trunk first. */
  readonly #live: Line[] = [this.#trunk];

  /** Takes an event; returns the deltas whose turn has come. */
  push(event: EngineEvent): Delta[] {
    switch (event.type) {
      case 'delta': {
        const line = this.#line(event.branch);
        if (line.queue.length === 0 && line === this.#live.at(-1)) return [event];
        line.queue.push(event);
        break;
      }
      case 'block_opened':
        this.#plans.set(`${event.branch}/${event.block}`, event.plans.length);
        return [];
      case 'branch_created':
        this.#create(event);
        break;
      case 'branch_completed':
        this.#line(event.branch).completed = true;
        break;
      case 'choice_finished':
        // a choice that is cut short leaves branches open; what they wrote still has its place
        for (const line of this.#lines.values()) line.completed = true;
        break;
      default:
        return [];
    }
    return this.#drain(event.type === 'choice_finished');
  }

  #create(event: Extract<EngineEvent, { type: 'branch_created' }>): void {
    const parent = this.#line(event.parent);
    const last = parent.queue.findLast((item) => item.type === 'fork' && item.block === event.block);
    let fork = last as Fork | undefined;
    if (fork === undefined) {
      const branches = this.#plans.get(`${event.parent}/${event.block}`);
      if (branches === undefined) throw new Error(`branch ${event.branch} belongs to no open block`);
      this.#plans.delete(`${event.parent}/${event.block}`);
      fork = { type: 'fork', block: event.block, branches: new Array(branches).fill(undefined), next: 0 };
      parent.queue.push(fork);
    }
    const line: Line = { branch: event.branch, queue: [], head: 0, completed: false };
    fork.branches[event.index] = line;
    this.#lines.set(event.branch, line);
  }

  #line(branch: number): Line {
    const line = this.#lines.get(branch);
    if (line === undefined) throw new Error(`branch ${branch} is not open`);
    return line;
  }

  /** `final`: no branch that is still missing will come. */
  #drain(final: boolean): Delta[] {
    const out: Delta[] = [];
    for (;;) {
      const line = this.#live.at(-1) as Line;
      const item = line.queue[line.head];
      if (item === undefined) {
        line.queue = [];
        line.head = 0;
        if (!line.completed || line === this.#trunk) return out;
        this.#lines.delete(line.branch);
        this.#live.pop();
        const parent = this.#live.at(-1) as Line;
        (parent.queue[parent.head] as Fork).next++;
      } else if (item.type === 'delta') {
        line.head++;
        out.push(item);
      } else if (item.next === item.branches.length) {
        line.head++;
      } else {
        const branch = item.branches[item.next];
        if (branch !== undefined) this.#live.push(branch);
        else if (final) item.next++;
        else return out;
      }
    }
  }
}
