/** The learning rate of each step. */
export interface Schedule {
  kind: 'constant' | 'cosine';
  /** Of linear warm-up; below 1: their share of all steps. */
  warmup_steps: number;
  /** Where cosine ends, at the last step. */
  final_lr: number;
}

/** `step`: from 0, of `steps`. The first step of a warm-up takes its share too: no step is wasted on a rate of 0. */
export function learningRate(peak: number, schedule: Schedule, step: number, steps: number): number {
  const { kind, final_lr, warmup_steps } = schedule;
  const warmup = warmup_steps < 1 ? Math.ceil(warmup_steps * steps) : warmup_steps;
  if (step < warmup) return (peak * (step + 1)) / warmup;
  if (kind === 'constant') return peak;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - 1 - warmup));
  return final_lr + ((peak - final_lr) * (1 + Math.cos(Math.PI * progress))) / 2;
}
