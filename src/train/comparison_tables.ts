/** A comparison for people, in Markdown. */
import { mean } from './advantages.js';
import { type Asked, type FamilyFigures, latency, overall } from './comparison.js';

/** The same stage asked in the same way, of all runs. */
type Row = readonly Asked[];

/** All families together, then accuracy and latency by family. What several runs have in common is their mean. */
export function comparisonTables(asked: readonly Asked[]): string {
  const rows = byRow(asked);
  const families = [...new Set(asked.flatMap((one) => one.families.map(({ family }) => family)))];
  const first = rows.find(([one]) => one?.stage === 'base');
  const times = (row: Row, family?: string) => {
    const [own, reference] = [row, first ?? []].map((of) => figure(of, latency, family));
    return first === undefined || !own || !reference ? '' : `${(reference / own).toFixed(2)} x`;
  };
  const percent = (row: Row, key: string, family?: string) =>
    `${(100 * figure(row, ({ metrics }) => metrics[key] ?? Number.NaN, family)).toFixed(1)}%`;
  const number = (row: Row, key: string) =>
    figure(row, ({ metrics }) => metrics[key] ?? Number.NaN).toFixed(key === 'branches' ? 1 : 0);
  const ms = (row: Row, family?: string) => {
    const value = figure(row, latency, family);
    return value === 0 ? '' : `${value.toFixed(1)} ms`;
  };
  return [
    table(
      [
        '',
        'accuracy',
        'valid',
        'parallel',
        'branches',
        'tokens',
        'critical path',
        'one answer',
        'against base',
      ],
      rows.map((row) => [
        name(row),
        ...['accuracy', 'valid', 'parallel'].map((key) => percent(row, key)),
        ...['branches', 'tokens', 'critical_path'].map((key) => number(row, key)),
        ms(row),
        times(row),
      ]),
    ),
    table(
      ['accuracy', ...families],
      rows.map((row) => [name(row), ...families.map((family) => percent(row, 'accuracy', family))]),
    ),
    table(
      ['one answer', ...families],
      rows.map((row) => [
        name(row),
        ...families.map((family) => [ms(row, family), times(row, family)].filter(Boolean).join(', ')),
      ]),
    ),
  ].join('\n\n');
}

function byRow(asked: readonly Asked[]): Row[] {
  const rows = new Map<string, Asked[]>();
  for (const one of asked) {
    const key = name([one]);
    rows.set(key, [...(rows.get(key) ?? []), one]);
  }
  return [...rows.values()];
}

function name([one]: Row): string {
  const { stage, mode, system } = one as Asked;
  return `${stage}, ${mode}${stage === 'base' && system !== undefined ? `: "${system}"` : ''}`;
}

/** The mean over runs, of all families or of one. */
function figure(row: Row, value: (figures: FamilyFigures) => number, family?: string): number {
  return mean(
    row.map(({ families }) =>
      value(overall(family === undefined ? families : families.filter((one) => one.family === family))),
    ),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${' --- |'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
