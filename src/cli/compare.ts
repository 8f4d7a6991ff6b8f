/** `npr-serve compare`. */
import { writeFile } from 'node:fs/promises';
import { SettingsError } from '../config/resolve.js';
import { type Asked, compareStages } from '../train/comparison.js';
import { comparisonTables } from '../train/comparison_tables.js';
import { loadModel } from './load.js';
import { trainingEngine } from './train.js';

export interface CompareFlags {
  /** As typed. */
  alone: string;
  json?: string;
}

/** Prints tables in Markdown; figures of several runs are their means. */
export async function compare(runs: readonly string[], flags: CompareFlags): Promise<void> {
  if (!/^\d+$/.test(flags.alone))
    throw new SettingsError(`--alone: expected an integer from 0, got ${JSON.stringify(flags.alone)}`);
  const show = (what: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`);
  };
  const asked: Asked[] = [];
  for (const run of runs)
    asked.push(
      ...(await compareStages(run, {
        load: (folder, engine) => loadModel(trainingEngine(folder, engine)),
        alone: Number(flags.alone),
        progress: show,
      })),
    );
  show('');
  if (flags.json !== undefined) await writeFile(flags.json, `${JSON.stringify(asked, null, 1)}\n`);
  process.stdout.write(`${comparisonTables(asked)}\n`);
}
