import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { Trainer, TrainerOptions } from './trainer_types.js';
import type { EngineRequest, EngineStats, LoadOptions, ModelInfo, Vocabulary } from './types.js';

export interface NativeEngine {
  info(): ModelInfo;
  submit(id: number, request: EngineRequest): void;
  cancel(id: number): void;
  stats(): EngineStats;
  /** Calls of the trainer come one after another. */
  trainer(options: TrainerOptions): Promise<Trainer>;
  checkIntegrity(): Promise<void>;
  close(): Promise<void>;
}

interface Addon {
  load(
    options: LoadOptions,
    vocabulary: Vocabulary,
    onProgress: (done: number, total: number) => void,
    /** An EventReader reads them. */
    onEvents: (numbers: Float64Array, text: string) => void,
  ): Promise<NativeEngine>;
}

const path = fileURLToPath(new URL('../../build/native/native/engine/addon/npr_addon.node', import.meta.url));

/** Loads the compiled engine; throws where `npm run build:native` has not run. */
export function addon(): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new Error(`the native engine could not be loaded from ${path}; run: npm run build:native`, {
      cause,
    });
  }
}
