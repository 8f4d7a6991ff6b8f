import { describe, expect, it } from 'vitest';
import { chart, niceTicks } from '../../../src/train/log/chart.js';
import { Lines, short, summary } from '../../../src/train/log/lines.js';
import { report } from '../../../src/train/log/report.js';
import { record } from './record.js';

describe('a log', () => {
  it('has a line a step', () => {
    const lines: string[] = [];
    const log = new Lines((line) => lines.push(line));
    log.begin('papo', 10, 0);
    log.begin('papo', 10, 4);
    log.record(record(5), 10);
    log.record(record(5, { kind: 'validation', metrics: { accuracy: 0.25 } }), 10);
    for (let i = 0; i <= 30; i++) log.progress('beta: sampling', i, 30);
    expect(lines.slice(0, 4)).toEqual([
      'papo: 10 steps',
      'papo: goes on after step 4 of 10',
      'papo 5/10: reward 0.1235  accuracy 0.5  mismatch 0  step_s 2',
      'papo 5/10 validation: accuracy 0.25',
    ]);
    expect(lines.slice(4).map((line) => line.split(' ').at(-1))).toEqual(
      Array.from({ length: 11 }, (_, i) => `${3 * i}/30`),
    );
  });

  it('writes numbers as people read them', () => {
    expect([0, 3, 0.123456, 12345.678, 1e-5, 0.00123456, -2.5, 3.1e7].map(short)).toEqual([
      '0',
      '3',
      '0.1235',
      '12345.7',
      '1.00e-5',
      '0.001235',
      '-2.5',
      '31000000',
    ]);
    expect(summary({ other: 1 })).toBe('');
  });
});

describe('the report', () => {
  const records = ['zero', 'papo'].flatMap((stage) =>
    Array.from({ length: 60 }, (_, step) => [
      record(step, { stage, metrics: { reward: step / 60, mismatch: 0, gradient_norm: 1.5 } }),
      record(step, { stage, kind: 'validation', metrics: { accuracy: step / 59, valid: 1 } }),
    ]).flat(),
  );
  const page = report('Run <1>', records, { seed: '</pre>' });

  it('needs nothing but itself', () => {
    expect(page).not.toMatch(/https?:|src=|@import|url\(|<script/);
    expect(page).toContain('Run &lt;1&gt;');
    expect(page).toContain('&lt;/pre&gt;');
    expect(page.match(/<svg/g)).toHaveLength(page.match(/<\/svg>/g)?.length ?? 0);
  });

  it('has a figure for what was measured, with its last number in words, a panel a stage', () => {
    const titles = [...page.matchAll(/<figcaption>(.*?)<\/figcaption>/g)].map((match) => match[1]);
    expect(titles).toEqual([
      'Reward',
      'Accuracy',
      'Responses of valid format',
      'Gradient norm',
      'Mismatch of log-probabilities, rollout and training',
    ]);
    const [reward = ''] = page.split('</figure>');
    expect(reward.match(/class="stage"/g)).toHaveLength(2);
    expect(reward).toContain('>training 0.9833</text>');
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("tells each stage's first and last validation", () => {
    const rows = [...page.matchAll(/<tr><th>(\w+)<\/th><td>(\d+)<\/td><td>([\d.]*)<\/td>/g)];
    expect(rows.map(([, stage, step, accuracy]) => [stage, step, accuracy])).toEqual([
      ['zero', '0', '0'],
      ['zero', '59', '1'],
      ['papo', '0', '0'],
      ['papo', '59', '1'],
    ]);
  });

  it('has scales of round numbers around the values', () => {
    expect(niceTicks(0, 1)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(niceTicks(-1, 0.93)).toEqual([-1, -0.5, 0, 0.5, 1]);
    expect(niceTicks(0, 0)).toEqual([0, 0.2]);
    expect(niceTicks(1.5, 1.5)[0]).toBeLessThanOrEqual(1.5);
    for (const [low, high] of [
      [3, 1234],
      [-7e-9, 2e-9],
      [99.9, 100.1],
    ] as const) {
      const ticks = niceTicks(low, high);
      expect(ticks[0]).toBeLessThanOrEqual(low);
      expect(ticks.at(-1)).toBeGreaterThanOrEqual(high);
      expect(ticks.length).toBeLessThan(9);
    }
    expect(chart('nothing', [{ title: 'base', steps: 3, series: [] }])).toBe('');
  });
});
