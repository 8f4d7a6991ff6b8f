import { describe, expect, it } from 'vitest';
import { better, figuresIn, versionIn } from '../../../bench/peers/batched_bench.js';
import { comparisonText, rowsOf } from '../../../bench/peers/comparison.js';
import { round } from '../../../bench/peers/engine.js';

const work = { threads: 2, trunk: 512, tokens: 32, streams: [1, 8] };
const figures = (prefill: number, one: number, eight: number) => ({
  prefill,
  decode: new Map([
    [1, one],
    [8, eight],
  ]),
});

describe('a round', () => {
  it('takes the median of what was measured several times', () => {
    const decodes = [30, 10, 20].map((tokensPerSecond) => ({ streams: 16, tokensPerSecond }));
    expect(round([4, 2], [...decodes, { streams: 1, tokensPerSecond: 5 }])).toEqual({
      prefill: 3,
      decode: new Map([
        [16, 20],
        [1, 5],
      ]),
    });
  });
});

describe('llama-batched-bench', () => {
  const line = (pl: number, pp: number, tg: number) =>
    `{"n_kv_max": 1024, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 1, "n_gpu_layers": -1, "n_threads": 2, "n_threads_batch": 2, "pp": 512, "tg": 32, "pl": ${pl}, "n_kv": 544, "t_pp": 5.212348, "speed_pp": ${pp}, "t_tg": 1.202061, "speed_tg": ${tg}, "t": 6.414409, "speed": 82.314674}`;

  it('is read line by line; what it prints besides is passed over', () => {
    const text = `\n${line(1, 98.5, 13.25)}\n${line(8, 99.5, 39.5)}\n\nllama_perf_context_print: load time = 1 ms\n`;
    expect(figuresIn(text)).toEqual(figures(99, 13.25, 39.5));
  });

  it('must have printed figures', () => {
    expect(() => figuresIn('error: unable to load model')).toThrow(
      'expected lines in JSON, found: error: unable to load model',
    );
  });

  it('tells its version', () => {
    const text = 'version: 0.5.0-dev (build 1, commit de3ff81)\nbuilt with GNU 12.2.0 for Linux x86_64\n';
    expect(versionIn(text)).toBe('llama.cpp 0.5.0-dev (build 1, commit de3ff81)');
    expect(() => versionIn('Usage: ls')).toThrow('expected a version, found: Usage: ls');
  });

  it('is shown by the better of two runs, row by row', () => {
    expect(better(figures(100, 12, 40), figures(90, 13, 39))).toEqual(figures(100, 13, 40));
  });
});

describe('a comparison', () => {
  // Ours and a peer, in three rounds; with 8 streams the machine is half as fast in the third.
  const taken = [
    [figures(600, 10, 160), figures(300, 10, 40)],
    [figures(900, 30, 160), figures(300, 10, 40)],
    [figures(200, 20, 80), figures(100, 5, 20)],
  ];
  const rows = rowsOf(taken, work);

  it('gives ratios of the same round, not of medians', () => {
    expect(rows.map(({ what }) => what)).toEqual(['prefill of 512', 'decode, 1 stream', 'decode, 8 streams']);
    const [, one, eight] = rows;
    expect(one?.figures).toEqual([
      { tokensPerSecond: { median: 20, min: 10, max: 30 }, oursOverThis: { median: 1, min: 1, max: 1 } },
      { tokensPerSecond: { median: 10, min: 5, max: 10 }, oursOverThis: { median: 3, min: 1, max: 4 } },
    ]);
    expect(eight?.figures[1]?.oursOverThis).toEqual({ median: 4, min: 4, max: 4 });
  });

  it('has one row for a number of streams that was measured several times', () => {
    expect(rowsOf(taken, { ...work, streams: [8, 8, 8] }).map(({ what }) => what)).toEqual([
      'prefill of 512',
      'decode, 8 streams',
    ]);
  });

  it('is printed with the versions and a ratio beside every peer', () => {
    const engines = [
      { name: 'ours', version: 'c0ffee' },
      { name: 'peer', version: 'peer 1.2' },
    ];
    const text = comparisonText({ model: 'tiny-random', work, rounds: 3, engines, rows });
    expect(text.split('\n').slice(2)).toEqual([
      'ours: c0ffee',
      'peer: peer 1.2',
      '',
      '                                  ours                 peer  ratio',
      '-----------------  -------------------  -------------------  -----',
      'prefill of 512        600 (200 to 900)     300 (100 to 300)   2.00',
      'decode, 1 stream   20.0 (10.0 to 30.0)  10.0 (5.00 to 10.0)   3.00',
      'decode, 8 streams    160 (80.0 to 160)  40.0 (20.0 to 40.0)   4.00',
    ]);
  });
});
