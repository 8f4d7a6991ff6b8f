/** Puts a stage together: data, model, trainer. */
import { join } from 'node:path';
import { Default } from 'typebox/value';
import type { Trainer, TrainerOptions } from '../engine/trainer_types.js';
import type { Engine } from '../engine/types.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Example } from './examples.js';
import type { RunLog } from './log/run_log.js';
import { dapo, papo } from './methods.js';
import { Prompts } from './prompts.js';
import { heldOutExamples, loadExamples, withTexts } from './questions.js';
import { seedOf } from './random.js';
import { Reinforcement, type ReinforcementParts } from './reinforcement.js';
import { scorer } from './scoring.js';
import type { BaseSettings, BetaSettings, StageName, StageSettings, TrainSettings } from './settings.js';
import { STAGES, ValidationSettings } from './settings.js';
import { closeAll, type Stage, TrainError, type Workplace } from './stage.js';
import { defaultStart, startFolder, withTags } from './starts.js';
import { Supervised } from './supervised.js';
import { traces } from './traces.js';
import type { ValidationParts } from './validation.js';

export type LoadModel = (folder: string) => Promise<{ engine: Engine; tokenizer: Tokenizer }>;

export interface RunOptions {
  /** Its abort ends the run after the running step, with a checkpoint. */
  signal: AbortSignal;
  log: RunLog;
  load: LoadModel;
}

export interface OpenStage {
  stage: Stage;
  workplace: Workplace;
  /** That the model was loaded from. */
  modelFolder: string;
  validation?: { parts: ValidationParts; settings: ValidationSettings };
}

/** `folder`: the stage's own. What comes back is the caller's to close. */
export async function openStage(
  name: StageName,
  folder: string,
  settings: TrainSettings,
  options: RunOptions,
): Promise<OpenStage> {
  const own = settings.stages[name] as StageSettings;
  const validation = await heldOut(settings, own);
  const examples = await learned(name, folder, settings, options);
  const start = await startFolder(settings, name, own.from ?? defaultStart(settings, name));
  const parallel = name === 'beta' || name === 'papo';
  const modelFolder = parallel ? await withTags(start, join(folder, 'start')) : start;
  const { engine, tokenizer } = await options.load(modelFolder);
  let trainer: Trainer | undefined;
  try {
    trainer = await engine.trainer(trainerOptions(name, settings));
    const workplace = { engine, tokenizer, trainer };
    const prompts = new Prompts(tokenizer, own.system ?? settings.system, settings.chat_template_kwargs);
    const score = await scorer(name, 'sampling' in own ? own.sampling.max_tokens : 0, own);
    const stage = build(name, settings, { workplace, examples, prompts, score });
    const open = { stage, workplace, modelFolder };
    if (validation === undefined) return open;
    const mode = { parallel: parallel ? settings.parallel : undefined, traces: settings.traces };
    const judge = await scorer(name, validation.settings.max_tokens, own);
    const parts = { engine, tokenizer, prompts, score: judge, examples: validation.examples, ...mode };
    return { ...open, validation: { parts, settings: validation.settings } };
  } catch (error) {
    await closeAll({ trainer, engine });
    throw error;
  }
}

async function heldOut(
  run: TrainSettings,
  own: StageSettings,
): Promise<{ examples: Example[]; settings: ValidationSettings } | undefined> {
  const merged = { ...run.validation, ...own.validation };
  if (merged.data === undefined) return undefined;
  const settings = Default(ValidationSettings, merged) as ValidationSettings;
  return { examples: await heldOutExamples(settings.data), settings };
}

/** What any stage is validated on: the model of one is the start of the next. */
async function heldOutQuestions({ validation, stages }: TrainSettings): Promise<Set<string>> {
  const sources = [validation, ...STAGES.map((name) => stages[name]?.validation)];
  const examples = await Promise.all(sources.flatMap((own) => own?.data ?? []).map(heldOutExamples));
  return new Set(examples.flat().map(({ question }) => question));
}

/** What a stage learns from: nothing that it or another is validated on. */
async function learned(
  name: StageName,
  folder: string,
  settings: TrainSettings,
  options: RunOptions,
): Promise<Example[]> {
  const { beta, base, zero } = settings.stages;
  const given = name === 'beta' ? beta?.traces : undefined;
  const data =
    given === undefined ? (settings.stages[name]?.data ?? settings.data) : { files: [{ path: given }] };
  if (data === undefined) throw new TrainError(`${name}: has no data`);
  const questions = await heldOutQuestions(settings);
  const all = await loadExamples(data, settings.seed);
  const examples = all.filter(({ question }) => !questions.has(question));
  if (examples.length < all.length)
    options.log.note(`${name}: ${all.length - examples.length} of ${all.length} questions are held out`);
  if (examples.length === 0) throw new TrainError(`${name}: every question is held out for validation`);
  if (name === 'base') return withTexts(examples, (base as BaseSettings).texts, settings.seed);
  if (name !== 'beta' || given !== undefined) return examples;
  const own = beta as BetaSettings;
  return traces(join(folder, 'traces.jsonl'), own, examples, {
    ...options,
    seed: settings.seed,
    teacher: await startFolder(settings, name, own.teacher ?? 'zero'),
    system: own.teacher_system ?? zero?.system ?? settings.system,
    templateKwargs: settings.chat_template_kwargs,
  });
}

function build(
  name: StageName,
  { stages, seed, traces, parallel }: TrainSettings,
  own: Omit<ReinforcementParts, 'seed' | 'traces'>,
): Stage {
  const parts = { ...own, seed, traces };
  if (name === 'zero' && stages.zero !== undefined)
    return new Reinforcement(dapo(stages.zero), stages.zero, parts);
  if (name === 'papo' && stages.papo !== undefined)
    return new Reinforcement(papo(stages.papo, parallel), stages.papo, parts);
  const kind = name === 'base' ? 'base' : 'beta';
  return new Supervised(kind, stages[kind] as BaseSettings | BetaSettings, parts);
}

function trainerOptions(name: StageName, settings: TrainSettings): TrainerOptions {
  const { optimizer, micro_batch_tokens, recompute, lora } = settings.stages[name] as StageSettings;
  return {
    beta1: optimizer.beta1,
    beta2: optimizer.beta2,
    epsilon: optimizer.epsilon,
    weightDecay: optimizer.weight_decay,
    clipNorm: optimizer.clip_norm,
    microBatchTokens: micro_batch_tokens,
    recompute,
    lora: lora && { ...lora, seed: seedOf(settings.seed, name, 'lora') },
  };
}
