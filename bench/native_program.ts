/** Runs the native benchmarks and reads their lines. */
import { fileURLToPath } from 'node:url';
import { output } from './process.js';

type Program = 'engine_bench' | 'kernels_bench' | 'step_bench' | 'training_bench';

export type Line =
  | { type: 'model'; backend: string; threads: number; parameters: number }
  | {
      type: 'machine';
      round: number;
      bytes_per_second: number;
      flops_per_second: number;
      instruction: string;
    }
  | ({ type: 'startup' } & StartupLine)
  | ({ type: 'prefill' } & Figure)
  | ({ type: 'decode' } & Figure)
  | { type: 'load'; round: number; callers: number; requests: number; tokens: number; seconds: number };

export interface StartupLine {
  weights: 'bf16' | 'int8';
  round: number;
  seconds: number;
  file_bytes: number;
  read_seconds: number;
  peak_resident_bytes: number;
}

export interface Figure {
  weights: 'bf16' | 'int8';
  round: number;
  /** Tokens of the prompt. */
  trunk: number;
  branches: number;
  tokens_per_second: number;
  /** What the round's bandwidth or peak allow, whichever allows less. */
  limit_tokens_per_second: number;
  /** That must be read at least; what is read from a cache counts too. */
  bytes_per_second: number;
  flops_per_second: number;
}

/** Rejects with the program's own message where it fails. */
export async function engineBench(
  command: 'random' | 'startup' | 'speed' | 'load',
  directory: string,
  options: Record<string, string | number> = {},
): Promise<Line[]> {
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return nativeBench('engine_bench', [command, directory, ...flags]);
}

/** The JSON objects that a program writes, one a line. Rejects with its own message where it fails. */
export async function nativeBench<T>(program: Program, args: readonly string[]): Promise<T[]> {
  const path = fileURLToPath(new URL(`../../native/bench/native/${program}`, import.meta.url));
  const lines = (await output(path, [...args])).split('\n');
  return lines.flatMap((line) => (line === '' ? [] : [JSON.parse(line) as T]));
}
