/** `npr-serve train`. */
import { appendFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FolderInUse, lockFolder } from '../checkpoint/lock.js';
import { resolveSettings, SettingsError } from '../config/resolve.js';
import { EngineSettings } from '../config/settings.js';
import { Lines } from '../train/log/lines.js';
import { type Display, RunLog } from '../train/log/run_log.js';
import { openOutput, train as run } from '../train/run.js';
import type { StageName, TrainSettings } from '../train/settings.js';
import { readTrainSettings } from '../train/settings_file.js';
import { Interrupted } from '../train/stage.js';
import { loadModel } from './load.js';
import { TrainView } from './train_view.js';

export interface TrainFlags {
  config: string;
  stage: StageName | 'all';
  resume?: boolean;
  output?: string;
  /** As typed. */
  seed?: string;
}

/** Requests that may run, or wait: all groups of a batch and all questions of a validation are in flight at once. */
const REQUESTS = { maxRunning: 1024, maxWaiting: 65536 };

/** Runs until all stages are done, or an interrupt ends the run after its step. */
export async function train(flags: TrainFlags): Promise<void> {
  outliveReaders();
  const settings = readTrainSettings(flags.config, { output: flags.output, seed: seedOf(flags.seed) });
  const unlock = await lockOutput(settings.output);
  try {
    await openOutput(settings, flags.resume ?? false);
    await runUntilInterrupted(settings, flags.stage === 'all' ? undefined : flags.stage);
  } finally {
    unlock();
  }
}

/** The reader of a pipe may go first, as `tee` does at Ctrl-C: that ends no run before its checkpoint. The log has it all. */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

async function lockOutput(output: string): Promise<() => void> {
  await mkdir(output, { recursive: true });
  try {
    return await lockFolder(output);
  } catch (error) {
    if (!(error instanceof FolderInUse)) throw error;
    throw new SettingsError(
      `${output}: another process is training there; wait for its end, or name another output`,
    );
  }
}

async function runUntilInterrupted(settings: TrainSettings, stage: StageName | undefined): Promise<void> {
  const interrupt = new AbortController();
  const stop = () => {
    // The second signal means now; the last checkpoint is whole.
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort();
    process.stderr.write('npr-serve: ends after this step; once more to end at once\n');
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const log = new RunLog(settings.output, settings, display(settings.output));
  try {
    await run(settings, stage, {
      signal: interrupt.signal,
      log,
      load: (folder) => loadModel(trainingEngine(folder, settings.engine)),
    });
  } catch (error) {
    if (!(error instanceof Interrupted)) {
      noteEnd(settings.output, error);
      throw error;
    }
    log.note(error.message);
    // As a shell reports a program that an interrupt ended.
    process.exitCode = 130;
  } finally {
    try {
      log.close();
    } catch (error) {
      // Not in the place of what ended the run, which may be the same full disk.
      process.stderr.write(`npr-serve: the report was not written: ${(error as Error).message}\n`);
    }
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

/** In `train.log` alone: where it is caught it is written to standard error. */
function noteEnd(folder: string, error: unknown): void {
  try {
    append(folder, `ended by an error: ${error instanceof Error ? error.message : String(error)}`);
  } catch {
    // Not in the place of what ended the run, which may be the same full disk.
  }
}

function append(folder: string, line: string): void {
  appendFileSync(join(folder, 'train.log'), `${new Date().toISOString()} ${line}\n`);
}

/** Lines in `train.log`, and on standard output too, unless that is a terminal. */
function display(folder: string): Display {
  const { stdout } = process;
  if (!stdout.isTTY)
    return new Lines((line) => {
      stdout.write(`${line}\n`);
      append(folder, line);
    });
  const screen = {
    write: (text: string) => stdout.write(text),
    get columns() {
      return stdout.columns;
    },
  };
  return new TrainView(screen, new Lines((line) => append(folder, line)));
}

/** An engine for whole batches of requests. */
export function trainingEngine(model: string, engine: TrainSettings['engine']): EngineSettings {
  const defaults = resolveSettings(EngineSettings, { flags: {}, env: {} });
  return {
    ...defaults,
    ...REQUESTS,
    model,
    device: engine.device,
    threads: engine.threads,
    kvMemory: engine.kv_memory,
    isa: engine.isa,
    maxBatchTokens: engine.max_batch_tokens,
  };
}

function seedOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(Number(text)))
    throw new SettingsError(`--seed: expected an integer from 0, got ${JSON.stringify(text)}`);
  return Number(text);
}
