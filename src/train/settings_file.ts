/** Reads a run's settings from its file. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { TSchema } from 'typebox';
import { Check, Default, Errors } from 'typebox/value';
import { complaint, type Fault } from '../config/faults.js';
import { SettingsError } from '../config/resolve.js';
import { parseBytes } from '../config/units.js';
import { STAGES, type StageSettings, TrainSettings } from './settings.js';

export interface Overrides {
  output?: string | undefined;
  seed?: number | undefined;
}

/** Throws a SettingsError that names the file, the key and what was expected. */
export function readTrainSettings(path: string, overrides: Overrides = {}): TrainSettings {
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new SettingsError(
      `settings file ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) {
    const { output, seed } = overrides;
    if (output !== undefined) Object.assign(given, { output: resolve(output) });
    if (seed !== undefined) Object.assign(given, { seed });
  }
  const value = Default(TrainSettings, written(TrainSettings, given, dirname(resolve(path))));
  if (!Check(TrainSettings, value)) {
    const {
      kind,
      path: key,
      detail,
    } = complaint(TrainSettings, value, Errors(TrainSettings, value) as Fault[]);
    if (kind === 'missing') throw new SettingsError(`${path}: ${key} is required`);
    if (kind === 'unknown') throw new SettingsError(`${path}: unknown setting ${key}${detail}`);
    throw new SettingsError(`${path}: ${key || 'the file'}: ${detail}`);
  }
  const fault = contradiction(value);
  if (fault !== undefined) throw new SettingsError(`${path}: ${fault}`);
  return value;
}

/** Values as they are meant: sizes in bytes, paths relative to `base`. */
function written(schema: TSchema, value: unknown, base: string): unknown {
  const { type, format, properties, items } = schema as {
    type?: string;
    format?: string;
    properties?: Record<string, TSchema>;
    items?: TSchema;
  };
  if (typeof value === 'string') {
    if (format === 'bytes') return parseBytes(value) ?? value;
    if (format === 'path' && value !== '') return resolve(base, value);
    if (
      format === 'start' &&
      value !== '' &&
      value !== 'model' &&
      !(STAGES as readonly string[]).includes(value)
    )
      return resolve(base, value);
    return value;
  }
  if (type === 'array' && Array.isArray(value) && items !== undefined)
    return value.map((item) => written(items, item, base));
  if (type !== 'object' || typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      const property = properties && Object.hasOwn(properties, key) ? properties[key] : undefined;
      return [key, property === undefined ? member : written(property, member, base)];
    }),
  );
}

/** What no schema can say. */
function contradiction(settings: TrainSettings): string | undefined {
  if ((settings.model === undefined) === (settings.init === undefined))
    return 'expected either model, a checkpoint to start from, or init, the shape of a random one';
  const { stages } = settings;
  const names = STAGES.filter((name) => stages[name] !== undefined);
  if (names.length === 0) return `stages: expected at least one of ${STAGES.join(', ')}`;
  for (const [key, data] of [
    ['data', settings.data] as const,
    ['validation.data', settings.validation?.data] as const,
    ...names.flatMap((name) => [
      [`stages.${name}.data`, stages[name]?.data] as const,
      [`stages.${name}.validation.data`, stages[name]?.validation?.data] as const,
    ]),
  ]) {
    if (data === undefined) continue;
    if ((data.files === undefined) === (data.tasks === undefined))
      return `${key}: expected either files or tasks`;
    for (const [name, range] of [
      ['difficulty', data.tasks?.difficulty ?? []] as const,
      ...Object.entries(data.tasks?.difficulties ?? {}).map(
        ([family, range]) => [`difficulties.${family}`, range] as const,
      ),
    ]) {
      const [least = 1, most = 1] = range;
      if (least > most) return `${key}.tasks.${name}: expected the easiest first, got [${least}, ${most}]`;
    }
  }
  for (const name of names) {
    const needed = !(name === 'beta' && stages.beta?.traces !== undefined);
    if (needed && stages[name]?.data === undefined && settings.data === undefined)
      return `stages.${name}: has no data; give data to the run or to the stage`;
    const validation = stages[name]?.validation;
    const validated = settings.validation !== undefined || validation?.data !== undefined;
    if (validation !== undefined && !validated)
      return `stages.${name}.validation: has no data; give validation.data to the run or to the stage`;
    if ((stages[name]?.checkpoints?.result ?? settings.checkpoints.result) === 'best' && !validated)
      return `stages.${name}: checkpoints.result is best, which needs a validation to tell`;
  }
  for (const name of names) {
    const { lr, schedule } = stages[name] as StageSettings;
    if (schedule.kind === 'cosine' && schedule.final_lr > lr)
      return `stages.${name}: schedule.final_lr is ${schedule.final_lr}, more than lr, which is ${lr}; a cosine falls from lr to final_lr`;
  }
  const clip = stages.zero?.clip;
  // in single precision, as the engine compares
  if (clip !== undefined && Math.fround(clip.dual) <= Math.fround(1 + Math.fround(clip.high)))
    return `stages.zero: clip.dual is ${clip.dual}; expected more than 1 + clip.high, and that is ${clip.high}`;
  return undefined;
}
