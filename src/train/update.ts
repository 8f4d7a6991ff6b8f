/** From responses and their advantages to new weights. */
import type { PassResult, Trainer } from '../engine/trainer_types.js';
import { mean } from './advantages.js';
import { passFigures } from './figures.js';
import type { Method } from './methods.js';
import type { Response } from './sample.js';
import { checkExact, type Phases } from './stage.js';
import { forcedGroups, lossTokens, sampledGroups, type Weighted } from './trajectories.js';

export interface Batch {
  /** By question; what a response weighs is its advantage. Where all are 0 there is no update. */
  groups: readonly (readonly Weighted[])[];
  /** Sampled too, but not learned from: they are compared alone. */
  others: readonly Response[];
  /** The learning rate. */
  rate: number;
  /** Of the stage, from 0, for messages. */
  step: number;
}

export interface Update {
  metrics: Record<string, number>;
  phases: Omit<Phases, 'rollout'>;
  notes: string[];
}

/** Throws a TrainError, the weights untouched, where the trainer's log-probabilities are not those of sampling. */
export async function updatePolicy(trainer: Trainer, method: Method, batch: Batch): Promise<Update> {
  const { loss, forcedToo } = method;
  const parts = split(batch.groups, method.updates).map((part) => tokenMean(part, forcedToo));
  const phases = { forward: 0, backward: 0, update: 0 };
  const passes: PassResult[] = [];
  const norms: number[] = [];

  // Once the weights have moved, log-probabilities differ rightly: what is not compared by the first update is before it.
  const compared = [
    ...parts.flatMap((part) => (parts.length > 1 ? part : part.filter((group) => !learned(group)))).flat(),
    ...batch.others.filter(({ tokens }) => tokens.length > 0).map((response) => ({ response, weight: 0 })),
  ];
  const scored = compared.length > 0 ? await trainer.score(sampledGroups(compared)) : undefined;
  phases.forward += scored?.forwardMs ?? 0;
  let mismatch = scored?.mismatch ?? 0;
  checkExact(mismatch, method.name, batch.step);

  const updates = parts.filter((part) => part.some(learned));
  for (const part of updates) {
    const responses = part.filter(learned).flat();
    const forced = forcedToo ? forcedGroups(responses) : [];
    const pass = await trainer.accumulate([...sampledGroups(responses), ...forced], loss);
    phases.forward += pass.forwardMs;
    phases.backward += pass.backwardMs;
    if (passes.length === 0) {
      mismatch = Math.max(mismatch, pass.mismatch);
      checkExact(mismatch, method.name, batch.step);
    }
    passes.push(pass);
    const result = await trainer.step(batch.rate);
    phases.update += result.updateMs;
    if (result.applied) norms.push(result.gradientNorm);
  }
  const figures = passes.length > 0 ? passFigures(passes) : {};
  const skipped = updates.length - norms.length;
  return {
    metrics: {
      ...figures,
      rows: (figures.rows ?? 0) + (scored?.rows ?? 0),
      saved_rows: (figures.saved_rows ?? 0) + (scored?.savedRows ?? 0),
      mismatch,
      ...(passes.length > 0
        ? { lr: batch.rate, drift: Math.max(...passes.map((pass) => pass.mismatch)) }
        : {}),
      ...(norms.length > 0 ? { gradient_norm: mean(norms) } : {}),
      updates: norms.length,
      skipped_updates: skipped,
    },
    phases,
    notes:
      skipped > 0 ? [`${skipped} of ${updates.length} updates left out: the gradient is not finite`] : [],
  };
}

/** Whether anything can be learned of a group; of the others nothing but their log-probabilities is computed. */
function learned(group: readonly Weighted[]): boolean {
  return group.some(({ weight }) => weight !== 0);
}

/** Consecutive parts, as even as can be; no more than there are groups. */
function split<T>(groups: readonly T[], parts: number): T[][] {
  const count = Math.min(parts, groups.length);
  const bound = (i: number) => Math.floor((i * groups.length) / count);
  return Array.from({ length: count }, (_, i) => groups.slice(bound(i), bound(i + 1)));
}

/** Every token of an update weighs the same: its response's advantage over the number of tokens in the loss. */
function tokenMean(groups: readonly (readonly Weighted[])[], forcedToo: boolean): Weighted[][] {
  let total = 0;
  for (const group of groups) for (const { response } of group) total += lossTokens(response, forcedToo);
  return groups.map((group) =>
    group.map(({ response, weight }) => ({ response, weight: total === 0 ? 0 : weight / total })),
  );
}
