/** A training run: its stages one after another, each from where it was. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { names, sweep, UNFINISHED, writeFile } from '../checkpoint/durable.js';
import { readJson } from '../checkpoint/model_files.js';
import { SettingsError } from '../config/resolve.js';
import type { RunOptions } from './open_stage.js';
import { STAGES, type StageName, type TrainSettings } from './settings.js';
import { Interrupted } from './stage.js';
import { runStage } from './stage_run.js';
import { INIT } from './starts.js';

/** Throws a SettingsError, TrainError, EngineError or TokenizerFileError; Interrupted where `signal` ended it. */
export async function train(
  settings: TrainSettings,
  /** Undefined: all that have settings. */
  stage: StageName | undefined,
  options: RunOptions,
): Promise<void> {
  const { log, signal } = options;
  if (stage !== undefined && settings.stages[stage] === undefined)
    throw new SettingsError(`stages.${stage}: has no settings, so it can't be run`);
  for (const name of stage === undefined ? STAGES : [stage]) {
    if (settings.stages[name] === undefined) continue;
    if ((await names(join(settings.output, name))).includes('model'))
      log.note(`${name}: was done before; its model is ${join(settings.output, name, 'model')}`);
    else if (signal.aborted)
      throw new Interrupted(`ended before the stage ${name}; --resume goes on with it`);
    else await runStage(name, settings, options);
  }
}

const RUN_SETTINGS = 'settings.json';
/** What may differ from one part of a run to the next: where it runs and what is kept of it. */
const FREE = new Set(['output', 'engine', 'checkpoints', 'traces']);

/**
 * Makes the folder this run's. What has begun there is gone on with as it was: without `resume`, or with other settings of what
 * it depends on, it is left alone, and a SettingsError says why. Stages that have not begun may still change.
 */
export async function openOutput(settings: TrainSettings, resume: boolean): Promise<void> {
  const { output } = settings;
  const path = join(output, RUN_SETTINGS);
  await mkdir(output, { recursive: true });
  const there = new Set(await names(output));
  there.delete(RUN_SETTINGS + UNFINISHED);
  if (there.size > 0 && !there.has(RUN_SETTINGS))
    throw new SettingsError(`${output}: is not empty, and no run's`);
  await sweep(output);
  const begun = STAGES.filter((name) => there.has(name));
  if (begun.length > 0 || there.has(INIT)) {
    if (!resume)
      throw new SettingsError(
        `${output}: holds a run already; go on with it by --resume, or name another output`,
      );
    const key = difference(fixed(await readJson(path), begun), fixed(settings, begun));
    if (key !== undefined)
      throw new SettingsError(
        `${output}: the run there has another ${key}; resume it with the settings in ${path}, or name another output`,
      );
  }
  await writeFile(path, `${JSON.stringify(settings, null, 2)}\n`);
}

/** The settings that what has begun depends on. */
function fixed(settings: object, begun: readonly StageName[]): Record<string, unknown> {
  const { stages = {}, ...run } = JSON.parse(JSON.stringify(settings)) as Record<string, object>;
  const entries = Object.entries(run).filter(([key]) => !FREE.has(key));
  return {
    ...Object.fromEntries(entries),
    stages: Object.fromEntries(
      begun.map((name) => [name, { ...Reflect.get(stages, name), checkpoints: undefined }]),
    ),
  };
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
