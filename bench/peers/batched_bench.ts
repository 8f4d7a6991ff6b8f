/** llama.cpp as built by whoever runs this: its llama-batched-bench, given by path. */
import { spawnSync } from 'node:child_process';
import { randomGguf } from '../models.js';
import { output } from '../process.js';
import { type Engine, type Round, round, type Work } from './engine.js';

/** Throws where the program does not run. */
export function batchedBench(program: string): Engine {
  const told = spawnSync(program, ['--version'], { encoding: 'utf8' });
  if (told.error) throw new Error(`${program} can't be run: ${told.error.message}`);
  const version = versionIn(told.stdout + told.stderr);
  return {
    name: 'llama.cpp, given',
    version,
    async measure(shape, work) {
      const model = await randomGguf(shape);
      // Streams that share a prompt may share its cells or have copies; which is faster depends on model and machine.
      const shared = await run(program, model, work, '--kv-unified', work.trunk);
      const copied = await run(
        program,
        model,
        work,
        '--no-kv-unified',
        work.trunk * Math.max(...work.streams),
      );
      return better(shared, copied);
    },
  };
}

async function run(
  program: string,
  model: string,
  { threads, trunk, tokens, streams }: Work,
  layout: string,
  prompts: number,
): Promise<Round> {
  const flags = [
    ...['--model', model, '--threads', threads, '--threads-batch', threads, layout],
    ...['--ctx-size', prompts + tokens * Math.max(...streams)],
    ...['-npp', trunk, '-ntg', tokens, '-npl', streams.join(','), '-pps', '--output-format', 'jsonl'],
  ];
  return figuresIn(await output(program, flags.map(String)));
}

/** `version: 0.5.0 (build 1, commit de3ff81)` among other lines. */
export function versionIn(text: string): string {
  const [, version] = /^version: (.+)$/m.exec(text) ?? [];
  if (version === undefined)
    throw new Error(`llama-batched-bench --version: expected a version, found: ${text}`);
  return `llama.cpp ${version}`;
}

/** Its lines in JSON; what else it prints is passed over. */
export function figuresIn(text: string): Round {
  const lines = text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Line] : []));
  if (lines.length === 0) throw new Error(`llama-batched-bench: expected lines in JSON, found: ${text}`);
  return round(
    lines.map((line) => line.speed_pp),
    lines.map((line) => ({ streams: line.pl, tokensPerSecond: line.speed_tg })),
  );
}

interface Line {
  /** Streams. */
  pl: number;
  /** Tokens per second: the prompt's, and those of all streams. */
  speed_pp: number;
  speed_tg: number;
}

export function better(one: Round, other: Round): Round {
  const decode = [...one.decode].map(([streams, speed]): [number, number] => [
    streams,
    Math.max(speed, other.decode.get(streams) ?? 0),
  ]);
  return { prefill: Math.max(one.prefill, other.prefill), decode: new Map(decode) };
}
