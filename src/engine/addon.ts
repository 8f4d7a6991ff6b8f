import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { EngineEvent, EngineRequest, EngineStats, LoadOptions, ModelInfo, Vocabulary } from './types.js';

/** An event as the addon delivers it: with the request that it belongs to. */
export type NativeEvent = EngineEvent & { request: number; stopStringIndex?: number };

export interface NativeEngine {
  info(): ModelInfo;
  submit(id: number, request: EngineRequest): void;
  cancel(id: number): void;
  stats(): EngineStats;
  checkIntegrity(): Promise<void>;
  close(): Promise<void>;
}

interface Addon {
  load(
    options: LoadOptions,
    vocabulary: Vocabulary,
    onProgress: (done: number, total: number) => void,
    onEvents: (events: NativeEvent[]) => void,
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
