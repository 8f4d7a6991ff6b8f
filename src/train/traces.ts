/** Rejection sampling: what beta learns from are responses of zero's model that are right and strictly valid. */
import { setMaxListeners } from 'node:events';
import { mkdir, open, truncate } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { names, writeFile } from '../checkpoint/durable.js';
import type { Engine } from '../engine/types.js';
import { parse } from '../parallel/parse.js';
import { canonical } from '../parallel/render.js';
import type { Json } from '../tokenizer/files.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { readLines } from './data/lines.js';
import { readExamples } from './data/read.js';
import type { Example } from './examples.js';
import type { RunLog } from './log/run_log.js';
import type { LoadModel } from './open_stage.js';
import { Prompts } from './prompts.js';
import { seedOf } from './random.js';
import { engineRequest } from './requests.js';
import { sample } from './sample.js';
import { type Scorer, scorer } from './scoring.js';
import type { BetaSettings } from './settings.js';
import { Interrupted, TrainError } from './stage.js';

/** Questions in flight at once. */
const AHEAD = 256;

/** What became of a question: a line of the file. */
interface Trial {
  question: string;
  answer: string;
  system?: string | undefined;
  /** Canonical; null where no try was kept. */
  response: string | null;
  tries: number;
}

export interface Sampling {
  /** The folder of the model that is asked. */
  teacher: string;
  /** As it was asked while it learned. */
  system: string | undefined;
  templateKwargs: Json | undefined;
  seed: number;
  log: RunLog;
  load: LoadModel;
  /** Ends the sampling soon; what is done is kept. */
  signal: AbortSignal;
}

/** The responses in `file`, which is made if it is not there. Throws a TrainError where none is kept; Interrupted. */
export async function traces(
  file: string,
  settings: BetaSettings,
  examples: readonly Example[],
  { teacher, system, templateKwargs, seed, log, load, signal }: Sampling,
): Promise<Example[]> {
  if (!(await names(dirname(file))).includes(basename(file))) {
    await mkdir(dirname(file), { recursive: true });
    const { engine, tokenizer } = await load(teacher);
    try {
      const prompts = new Prompts(tokenizer, system, templateKwargs);
      const score = await scorer('zero', settings.max_tokens);
      const progress = (done: number, kept: number) =>
        log.progress(`beta: responses to learn from, ${kept} kept`, done, examples.length);
      await keepTraces(
        { engine, tokenizer, examples, prompts, score, settings, seed, signal, progress },
        file,
      );
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new Interrupted('beta: ended while sampling responses; --resume goes on from there');
    } finally {
      await engine.close();
    }
  }
  return readExamples([{ path: file }]);
}

export interface RejectionParts {
  engine: Engine;
  tokenizer: Tokenizer;
  examples: readonly Example[];
  prompts: Prompts;
  score: Scorer;
  settings: Pick<BetaSettings, 'tries' | 'temperature' | 'top_p' | 'max_tokens'>;
  seed: number;
  signal: AbortSignal;
  /** After each question, in order. */
  progress(done: number, kept: number): void;
}

/**
 * Writes the kept responses to `file`, as JSONL. Goes on where an earlier call was cut off: what becomes of a question depends
 * on the seed and its place alone. Throws a TrainError where none was kept.
 */
export async function keepTraces(parts: RejectionParts, file: string): Promise<void> {
  const { examples, progress } = parts;
  const journal = `${file}.journal`;
  const trials = await readJournal(journal);
  const output = await open(journal, 'a');
  const running = new Map<number, Promise<Trial>>();
  const failed = new AbortController();
  const signal = AbortSignal.any([parts.signal, failed.signal]);
  setMaxListeners(0, signal); // one a question
  const kept = trials.filter(({ response }) => response !== null);
  try {
    for (let launched = trials.length; trials.length < examples.length; ) {
      for (; launched < examples.length && launched < trials.length + AHEAD; launched++)
        running.set(launched, attempt({ ...parts, signal }, launched));
      await Promise.race(running.values()); // so that none fails unnoticed while another is waited for
      const trial = (await running.get(trials.length)) as Trial;
      running.delete(trials.length);
      trials.push(trial);
      await output.write(line(trial));
      if (trial.response !== null) kept.push(trial);
      progress(trials.length, kept.length);
    }
  } finally {
    failed.abort();
    await Promise.allSettled(running.values());
    await output.close();
  }
  if (kept.length === 0)
    throw new TrainError(
      `beta: none of ${examples.length} questions got a response that is right and strictly valid within ${parts.settings.tries} tries; the model needs more of the stage zero`,
    );
  await writeFile(file, kept.map(line));
}

async function attempt(parts: RejectionParts, place: number): Promise<Trial> {
  const { engine, tokenizer, examples, prompts, score, settings, seed, signal } = parts;
  const example = examples[place] as Example;
  const { question, answer, system } = example;
  const prompt = await prompts.prompt(example);
  for (let tries = 1; tries <= settings.tries; tries++) {
    const request = engineRequest(prompt, {
      n: 1,
      maxTokens: settings.max_tokens,
      sampling: {
        temperature: settings.temperature,
        topP: settings.top_p,
        seed: seedOf(seed, 'beta', 'rejection', place, tries),
      },
    });
    for (const response of await sample(engine, tokenizer.vocabulary.tags, request, signal)) {
      const { correct, format } = await score(example, response);
      if (correct && format === 0)
        return { question, answer, system, response: canonical(parse(response.text)), tries };
    }
  }
  return { question, answer, system, response: null, tries: settings.tries };
}

/** The trials of whole lines; the last one may have been cut off, and is removed. */
async function readJournal(path: string): Promise<Trial[]> {
  const trials: Trial[] = [];
  let whole = 0;
  try {
    for await (const { text, end, ended } of readLines(path)) {
      if (!ended) break;
      whole = end;
      if (text !== '') trials.push(JSON.parse(text) as Trial);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  await truncate(path, whole);
  return trials;
}

function line(trial: Trial): string {
  return `${JSON.stringify(trial)}\n`;
}
