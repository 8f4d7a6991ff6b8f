/** What a procedural task is. */
import type { Draw } from './draw.js';

export interface Task {
  /** The name of its family. */
  kind: string;
  difficulty: number;
  question: string;
  /** Exact. */
  answer: string;
  /** The work, one block after another; what the blocks share is in the question and the takeaways. */
  blocks: Round[];
  /** Holds the answer in `\boxed{}`. */
  final: string;
}

/** Plans and as many steps, none of which needs another. Numbers are added when they are written out. */
export interface Round {
  plans: string[];
  steps: string[];
  takeaway: string;
}

export interface Family {
  /** Difficulties from 1 to this one. */
  levels: number;
  make(draw: Draw, difficulty: number): Omit<Task, 'kind' | 'difficulty' | 'final'>;
}
