/** A training run: its stages one after another, each from where it was. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { names, sweep, writeFile } from '../checkpoint/durable.js';
import { readJson } from '../checkpoint/model_files.js';
import { SettingsError } from '../config/resolve.js';
import type { RunOptions } from './open_stage.js';
import { STAGES, type StageName, type TrainSettings } from './settings.js';
import { runStage } from './stage_run.js';

/** Throws a SettingsError, TrainError, EngineError or TokenizerFileError; Interrupted where `signal` ended it. */
export async function train(
  settings: TrainSettings,
  /** Undefined: all that have settings. */
  stage: StageName | undefined,
  options: RunOptions,
): Promise<void> {
  const { log } = options;
  if (stage !== undefined && settings.stages[stage] === undefined)
    throw new SettingsError(`stages.${stage}: has no settings, so it can't be run`);
  for (const name of stage === undefined ? STAGES : [stage]) {
    if (settings.stages[name] === undefined) continue;
    if ((await names(join(settings.output, name))).includes('model'))
      log.note(`${name}: was done before; its model is ${join(settings.output, name, 'model')}`);
    else await runStage(name, settings, options);
  }
}

const RUN_SETTINGS = 'settings.json';
/** What may differ from one part of a run to the next: where it runs and what is kept of it. */
const FREE = new Set(['output', 'engine', 'checkpoints', 'traces']);

/** Throws a SettingsError where the folder belongs to another run, or to this one and `resume` is false. */
export async function openOutput(settings: TrainSettings, resume: boolean): Promise<void> {
  const { output } = settings;
  const path = join(output, RUN_SETTINGS);
  await mkdir(output, { recursive: true });
  await sweep(output);
  const there = await names(output);
  if (there.includes(RUN_SETTINGS)) {
    if (!resume)
      throw new SettingsError(
        `${output}: holds a run already; go on with it by --resume, or name another output`,
      );
    const key = difference(fixed(await readJson(path)), fixed(settings));
    if (key !== undefined)
      throw new SettingsError(
        `${output}: the run there has another ${key}; resume it with the settings in ${path}, or name another output`,
      );
  } else if (there.length > 0) {
    throw new SettingsError(`${output}: is not empty, and no run's`);
  }
  await writeFile(path, `${JSON.stringify(settings, null, 2)}\n`);
}

function fixed(settings: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(JSON.parse(JSON.stringify(settings))).filter(([key]) => !FREE.has(key)),
  );
}

/** The path of the first member that differs. */
function difference(a: unknown, b: unknown, path = ''): string | undefined {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null)
    return a === b ? undefined : path;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const found = difference(left[key], right[key], path === '' ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}
