import type { MetricsRecord } from '../../../src/train/log/metrics_file.js';

/** Of a step of papo. */
export function record(step: number, more: Partial<MetricsRecord> = {}): MetricsRecord {
  return {
    stage: 'papo',
    kind: 'train',
    step,
    time: step,
    metrics: { reward: 0.123456, accuracy: 0.5, mismatch: 0, step_s: 2 },
    ...more,
  };
}
