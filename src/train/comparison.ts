/** What the stages of a run came to: each one's model on the run's held-out questions, by the family of task. */
import { join } from 'node:path';
import { Default } from 'typebox/value';
import { names } from '../checkpoint/durable.js';
import { readJson } from '../checkpoint/model_files.js';
import { mean } from './advantages.js';
import type { Example } from './examples.js';
import type { LoadModel } from './open_stage.js';
import { Prompts } from './prompts.js';
import { heldOutExamples } from './questions.js';
import { engineRequest } from './requests.js';
import { sample } from './sample.js';
import { scorer } from './scoring.js';
import {
  type ParallelSettings,
  STAGES,
  type StageName,
  type TrainSettings,
  ValidationSettings,
} from './settings.js';
import { TrainError } from './stage.js';
import { resultFolder } from './starts.js';
import { type ValidationParts, validate } from './validation.js';

/** A stage's model asked in one way. */
export interface Asked {
  run: string;
  seed: number;
  stage: StageName;
  system: string | undefined;
  mode: 'sequential' | 'parallel';
  families: FamilyFigures[];
}

export interface FamilyFigures {
  /** Of tasks; of questions from files, `questions`. */
  family: string;
  questions: number;
  /** As validation names them, over all its samples. */
  metrics: Record<string, number>;
  /** Of each question that was asked alone, in order. */
  alone: { ms: number; tokens: number }[];
}

export interface ComparisonOptions {
  /** Loads a model for a run of such settings. */
  load(folder: string, engine: TrainSettings['engine']): ReturnType<LoadModel>;
  /** Questions of a family that are asked one at a time, to see how long one answer takes. */
  alone: number;
  progress(what: string): void;
}

/** `folder`: a run's output. Throws a TrainError where it is none, or has nothing held out. */
export async function compareStages(folder: string, options: ComparisonOptions): Promise<Asked[]> {
  const settings = { ...(await readSettings(folder)), output: folder };
  if (settings.validation === undefined) throw new TrainError(`${folder}: the run has no validation`);
  const validation = Default(ValidationSettings, settings.validation) as ValidationSettings;
  const families = byFamily(await heldOutExamples(validation.data));
  const results: Asked[] = [];
  for (const stage of STAGES) {
    if (!(await names(join(folder, stage))).includes('model')) continue;
    const { engine, tokenizer } = await options.load(resultFolder(settings, stage), settings.engine);
    try {
      const score = await scorer(stage, validation.max_tokens, settings.stages[stage]);
      for (const { system, parallel } of ways(settings, stage)) {
        const mode = parallel === undefined ? 'sequential' : 'parallel';
        const prompts = new Prompts(tokenizer, system, settings.chat_template_kwargs);
        const asked: Asked = { run: folder, seed: settings.seed, stage, system, mode, families: [] };
        for (const [family, examples] of families) {
          options.progress(`${folder}: ${stage}, ${mode}, ${family}`);
          const parts = { engine, tokenizer, prompts, score, examples, parallel, traces: 0 };
          const { metrics } = await validate(parts, validation);
          const alone = await oneByOne(parts, validation, examples.slice(0, options.alone));
          asked.families.push({ family, questions: examples.length, metrics, alone });
        }
        results.push(asked);
      }
    } finally {
      await engine.close();
    }
  }
  return results;
}

async function readSettings(folder: string): Promise<TrainSettings> {
  try {
    return (await readJson(join(folder, 'settings.json'))) as TrainSettings;
  } catch (error) {
    throw new TrainError(`${folder}: no run's output: ${(error as Error).message}`);
  }
}

/** As the stage is asked; base in every way that it learned to be asked, in their order, which is also that of the tables. */
function ways(
  settings: TrainSettings,
  stage: StageName,
): { system: string | undefined; parallel: ParallelSettings | undefined }[] {
  const { base } = settings.stages;
  const own = settings.stages[stage]?.system ?? settings.system;
  const parallel = stage === 'beta' || stage === 'papo' ? settings.parallel : undefined;
  const texts = stage === 'base' ? (base?.texts ?? []) : [];
  const systems = new Set([...texts.map(({ system }) => system ?? own), own]);
  return [...systems].map((system) => ({ system, parallel }));
}

function byFamily(examples: readonly Example[]): [string, Example[]][] {
  const families = new Map<string, Example[]>();
  for (const example of examples) {
    const family = example.task?.kind ?? 'questions';
    families.set(family, [...(families.get(family) ?? []), example]);
  }
  return [...families].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** One request at a time, with nothing beside it. */
async function oneByOne(
  { engine, tokenizer, prompts, parallel }: ValidationParts,
  { temperature, top_p, max_tokens }: ValidationSettings,
  examples: readonly Example[],
): Promise<FamilyFigures['alone']> {
  const results: FamilyFigures['alone'] = [];
  for (const [i, example] of examples.entries()) {
    const sampling = { temperature, topP: top_p, seed: BigInt(i) };
    const prompt = await prompts.prompt(example);
    const request = engineRequest(prompt, { n: 1, maxTokens: max_tokens, sampling, parallel });
    const started = performance.now();
    const [response] = await sample(engine, tokenizer.vocabulary.tags, request);
    results.push({ ms: performance.now() - started, tokens: response?.tokens.length ?? 0 });
  }
  return results;
}

/** Of several families together, each question weighing the same. */
export function overall(families: readonly FamilyFigures[]): FamilyFigures {
  const questions = families.reduce((sum, one) => sum + one.questions, 0);
  const keys = Object.keys(families[0]?.metrics ?? {});
  return {
    family: 'all',
    questions,
    metrics: Object.fromEntries(
      keys.map((key) => [
        key,
        families.reduce((sum, one) => sum + (one.metrics[key] ?? 0) * one.questions, 0) / questions,
      ]),
    ),
    alone: families.flatMap(({ alone }) => alone),
  };
}

/** Milliseconds that one answer takes in the mean. */
export function latency({ alone }: FamilyFigures): number {
  return mean(alone.map(({ ms }) => ms));
}
