/** Which model a stage starts from. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFolder } from '../checkpoint/durable.js';
import { addTagTokens } from '../checkpoint/tag_tokens.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { writeRandomModel } from './init.js';
import { STAGES, type StageName, type TrainSettings } from './settings.js';
import { TrainError } from './stage.js';

/** The folder of a random model that the run began with, in its output. */
export const INIT = 'init';

/** The folder of a stage's finished model. */
export function resultFolder(settings: TrainSettings, stage: StageName): string {
  return join(settings.output, stage, 'model');
}

/** What a stage's `from` is where it has none: zero and beta start from the same base model, papo from beta's. */
export function defaultStart(settings: TrainSettings, stage: StageName): string {
  const { stages } = settings;
  const base = stages.base === undefined ? 'model' : 'base';
  switch (stage) {
    case 'base':
      return 'model';
    case 'zero':
      return base;
    case 'beta':
      return stages.zero?.from ?? base;
    case 'papo':
      return stages.beta === undefined ? base : 'beta';
  }
}

/**
 * The folder of a start: a stage, `model` or a path. A random model is written where it is asked for and is not there. Throws
 * a TrainError where there is no such model.
 */
export async function startFolder(settings: TrainSettings, stage: StageName, start: string): Promise<string> {
  const source = STAGES.find((name) => name === start);
  if (source !== undefined) {
    const folder = resultFolder(settings, source);
    if (!(await exists(folder)))
      throw new TrainError(
        `${stage}: needs the model of the stage ${source}, and ${folder} is not there: run that stage first`,
      );
    return folder;
  }
  const folder = start === 'model' ? (settings.model ?? (await randomModel(settings))) : start;
  if (!(await exists(join(folder, 'config.json'))))
    throw new TrainError(`${stage}: no model to start from: ${join(folder, 'config.json')} is not there`);
  return folder;
}

/** The model itself where its vocabulary has the tags, else `copy`, which gets them. */
export async function withTags(model: string, copy: string): Promise<string> {
  if (await exists(copy)) return copy;
  if ((await Tokenizer.load(model)).vocabulary.tags !== undefined) return model;
  await writeFolder(copy, (folder) => addTagTokens(model, folder));
  return copy;
}

async function randomModel({ init, output, seed }: TrainSettings): Promise<string> {
  const path = join(output, INIT);
  if (init !== undefined && !(await exists(path)))
    await writeFolder(path, (folder) => writeRandomModel(init, seed, folder));
  return path;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
