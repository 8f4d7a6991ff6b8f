/** What a step costs around the model: scheduling, sampling and events; fork and join. */
import { nativeBench } from './native_program.js';
import { type Spread, spread } from './spread.js';
import { spreadText, table } from './table.js';

type Line =
  | { type: 'step'; backend: 'stub' | 'cpu'; branches: string; around: number }
  | { type: 'fork' | 'join'; trunk: string; us: number };

export interface Step {
  rounds: number;
  rows: { name: string; us: Spread }[];
}

export async function measureStep(rounds: number): Promise<Step> {
  const taken = new Map<string, number[]>();
  for (const line of await nativeBench<Line>('step_bench', [String(rounds)])) {
    const name =
      line.type === 'step'
        ? `${line.branches}, ${line.backend === 'stub' ? 'a backend that computes nothing' : 'a tiny model'}`
        : `${line.type} of 16 branches over 32,768 tokens in ${line.trunk === 'prompt' ? 'one piece' : 'many pieces'}`;
    taken.set(name, [...(taken.get(name) ?? []), line.type === 'step' ? line.around : line.us]);
  }
  return { rounds, rows: [...taken].map(([name, us]) => ({ name, us: spread(us) })) };
}

export function stepText({ rounds, rows }: Step): string {
  return [
    `the step around the model, 64 branches, ${rounds} rounds: median (min to max)`,
    '',
    table(
      ['', 'us'],
      rows.map(({ name, us }) => [name, spreadText(us)]),
    ),
  ].join('\n');
}
