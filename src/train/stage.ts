/** What the four stages have in common. */
import type { Trainer } from '../engine/trainer_types.js';
import type { Engine } from '../engine/types.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Trace } from './log/trace_files.js';
import type { StageName } from './settings.js';

/** A loaded model and its trainer. */
export interface Workplace {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly trainer: Trainer;
}

/** The trainer first: for as long as there is one, it keeps its engine's weights and KV cache. */
export async function closeAll({
  trainer,
  engine,
}: {
  trainer?: Trainer | undefined;
  engine: Engine;
}): Promise<void> {
  try {
    await trainer?.close();
  } finally {
    await engine.close();
  }
}

/** Milliseconds of a step by what they went to. */
export interface Phases {
  rollout: number;
  forward: number;
  backward: number;
  update: number;
}

export interface StepReport {
  /** By name; all finite. */
  metrics: Record<string, number>;
  phases: Phases;
  traces: Trace[];
  /** What a person should know. */
  notes: string[];
  /** Why the stage is over before its last step. */
  finished?: string;
}

export interface Stage {
  readonly name: StageName;
  readonly steps: number;
  /** `step`: from 0. */
  step(step: number): Promise<StepReport>;
  /** All that the next step depends on beside the trainer's state. */
  state(): Record<string, number>;
  restore(state: Record<string, number>): void;
}

/** A run that cannot go on, for a reason that its user can act on. */
export class TrainError extends Error {
  override name = 'TrainError';
}

/** The user ended the run; what was done is in a checkpoint. */
export class Interrupted extends Error {
  override name = 'Interrupted';
}

/**
 * The promise that everything rests on: training computes the log-probabilities that sampling did. Throws where it is broken,
 * before the weights are touched.
 */
export function checkExact(mismatch: number, stage: StageName, step: number): void {
  if (mismatch === 0) return;
  throw new TrainError(
    `${stage}, step ${step + 1}: log-probabilities of training differ from those of sampling by up to ${mismatch}, and must be equal in every bit; this is a defect of npr-serve, and the run ends here with its last checkpoint unharmed`,
  );
}
