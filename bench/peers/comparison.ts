/** This engine beside others: the same work in turns, since machines drift. */
import type { Shape } from '../models.js';
import { type Spread, spread } from '../spread.js';
import { number, spreadText, table } from '../table.js';
import type { Engine, Round, Work } from './engine.js';

export interface Comparison {
  model: string;
  work: Work;
  rounds: number;
  /** Ours comes first, here and in every row. */
  engines: { name: string; version: string }[];
  rows: Row[];
}

interface Row {
  what: string;
  figures: {
    tokensPerSecond: Spread;
    /** Our tokens per second over this engine's in the same round. */
    oursOverThis: Spread;
  }[];
}

export async function compare(
  engines: readonly [Engine, ...Engine[]],
  shape: Shape,
  work: Work,
  rounds: number,
): Promise<Comparison> {
  const taken: Round[][] = [];
  for (let i = 0; i < rounds; i++) {
    const inTurn: Round[] = [];
    for (const engine of engines) inTurn.push(await engine.measure(shape, work));
    taken.push(inTurn);
  }
  return {
    model: `${shape}-random`,
    work,
    rounds,
    engines: engines.map(({ name, version }) => ({ name, version })),
    rows: rowsOf(taken, work),
  };
}

/** `taken`: by round and engine, ours first. */
export function rowsOf(taken: readonly (readonly Round[])[], { trunk, streams }: Work): Row[] {
  const row = (what: string, value: (round: Round) => number | undefined): Row => {
    const speeds = taken.map((inTurn) => inTurn.map((round) => value(round) ?? Number.NaN));
    const engines = speeds[0]?.length ?? 0;
    return {
      what,
      figures: Array.from({ length: engines }, (_, engine) => {
        const each = (of: (speed: number, ours: number) => number) =>
          spread(speeds.map((inTurn) => of(inTurn[engine] ?? Number.NaN, inTurn[0] ?? Number.NaN)));
        return {
          tokensPerSecond: each((speed) => speed),
          oursOverThis: each((speed, ours) => ours / speed),
        };
      }),
    };
  };
  return [
    row(`prefill of ${trunk}`, ({ prefill }) => prefill),
    ...[...new Set(streams)].map((count) =>
      row(`decode, ${count} stream${count > 1 ? 's' : ''}`, ({ decode }) => decode.get(count)),
    ),
  ];
}

export function comparisonText({ model, work, rounds, engines, rows }: Comparison): string {
  const [ours, ...peers] = engines;
  return [
    `${model}, bf16, beside its peers: tokens/s of all streams, which share a prompt of ${work.trunk} tokens and add ${work.tokens} each;`,
    `${work.threads} threads, ${rounds} rounds in turns: median (min to max), and ours over the peer's`,
    ...engines.map(({ name, version }) => `${name}: ${version}`),
    '',
    table(
      ['', ours?.name ?? '', ...peers.flatMap(({ name }) => [name, 'ratio'])],
      rows.map(({ what, figures: [own, ...others] }) => [
        what,
        own ? spreadText(own.tokensPerSecond) : '',
        ...others.flatMap(({ tokensPerSecond, oursOverThis }) => [
          spreadText(tokensPerSecond),
          number(oursOverThis.median),
        ]),
      ]),
    ),
  ].join('\n');
}
