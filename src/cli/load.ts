/** Loads a model directory, telling how far it is. */
import { basename } from 'node:path';
import type { EngineSettings } from '../config/settings.js';
import { loadEngine } from '../engine/engine.js';
import type { LoadOptions } from '../engine/types.js';
import { ServedModel } from '../server/model.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';

/** Throws a TokenizerFileError or an EngineError, which name what is wrong with which file. */
export async function loadModel(settings: EngineSettings, name?: string): Promise<ServedModel> {
  const tokenizer = await Tokenizer.load(settings.model);
  const options: LoadOptions = {
    model: settings.model,
    device: settings.device as LoadOptions['device'],
    threads: settings.threads,
    kvMemoryBytes: settings.kvMemory,
    weights: settings.weights as LoadOptions['weights'],
    isa: settings.isa as LoadOptions['isa'],
    maxBatchTokens: settings.maxBatchTokens,
    maxRunning: settings.maxRunning,
    maxWaiting: settings.maxWaiting,
    prefixCache: settings.prefixCache,
  };
  const progress = new Progress(settings.model);
  try {
    const engine = await loadEngine(options, tokenizer.vocabulary, (done, total) =>
      progress.show(done, total),
    );
    return new ServedModel(name ?? basename(settings.model), engine, tokenizer);
  } finally {
    progress.clear();
  }
}

/** One line on a terminal's standard error; nothing elsewhere. */
class Progress {
  readonly #what: string;
  /** The last reports may arrive after the model. */
  #cleared = false;

  constructor(what: string) {
    this.#what = what;
  }

  show(done: number, total: number): void {
    if (this.#cleared || !process.stderr.isTTY) return;
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total);
    process.stderr.write(`\r\x1b[Kloading ${this.#what}: ${percent}%`);
  }

  clear(): void {
    this.#cleared = true;
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }
}
