/** Linear layers and attention of Qwen3-0.6B's shape alone, beside what the machine allows. */
import { nativeBench } from './native_program.js';
import { type Spread, spread } from './spread.js';
import { number, percent, spreadText, table } from './table.js';

type Line =
  | { type: 'machine'; backend: string; bytes_per_second: number; flops_per_second: number }
  | ({ type: 'linear'; name: string; rows: number } & Time)
  | ({ type: 'attention'; trunk: number; branches: number; rows: number; first_slot: number } & Time);
interface Time {
  us: number;
  limit_us: number;
}

export interface Kernels {
  backend: string;
  rounds: number;
  rows: Row[];
}
interface Row {
  name: string;
  us: Spread;
  /** The limit's share of the time, of the same round. */
  shareOfLimit: Spread;
}

/** `isa`: forced, or the widest that the machine has. */
export async function measureKernels(threads: number, rounds: number, isa?: 'avx2'): Promise<Kernels> {
  let backend = '';
  const taken = new Map<string, Time[]>();
  for (let round = 0; round < rounds; round++) {
    const args = [String(threads), ...(isa ? [isa] : [])];
    for (const line of await nativeBench<Line>('kernels_bench', args)) {
      if (line.type === 'machine') {
        backend = line.backend;
        continue;
      }
      const name = nameOf(line);
      taken.set(name, [...(taken.get(name) ?? []), line]);
    }
  }
  const rows = [...taken].map(([name, times]) => ({
    name,
    us: spread(times.map(({ us }) => us)),
    shareOfLimit: spread(times.map(({ us, limit_us }) => limit_us / us)),
  }));
  return { backend, rounds, rows };
}

function nameOf(line: Exclude<Line, { type: 'machine' }>): string {
  if (line.type === 'linear') return `${line.name}, ${line.rows} row${line.rows > 1 ? 's' : ''}`;
  if (line.rows > 1) return `attention, ${line.rows} rows after ${line.trunk}`;
  const apart = line.first_slot % 2 === 1 ? ', keys half a pair off' : '';
  return `attention, trunk of ${line.trunk}, ${line.branches} branch${line.branches > 1 ? 'es' : ''}${apart}`;
}

export function kernelsText({ backend, rounds, rows }: Kernels): string {
  return [
    `kernels of Qwen3-0.6B's shape, ${backend}, ${rounds} rounds: median (min to max)`,
    '',
    table(
      ['', 'us', 'of limit'],
      rows.map(({ name, us, shareOfLimit }) => [
        name,
        spreadText(us),
        `${percent(shareOfLimit.median)} (to ${number(100 * shareOfLimit.max)}%)`,
      ]),
    ),
  ].join('\n');
}
