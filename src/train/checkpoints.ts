/** A stage's checkpoints: Hugging Face folders with the trainer's and the loop's state beside the weights. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { linkOrCopy, names, removeFolder, sweep, writeFolder } from '../checkpoint/durable.js';
import { copyModelFiles, inBf16, readJson, writeJson } from '../checkpoint/model_files.js';
import type { Trainer } from '../engine/trainer_types.js';
import { TrainError } from './stage.js';

const TRAINER_STATE = 'trainer.safetensors';
const LOOP_STATE = 'loop.json';

/** All that goes on after a checkpoint depends on, beside the weights, the moments and the settings. */
export interface LoopState {
  stage: string;
  /** Steps that are done. */
  step: number;
  /** The stage's own. */
  state: Record<string, number>;
  /** The best validation so far by the metric of that name, and the step after which it was. */
  best: { step: number; metric: string; value: number } | null;
  /** No step is to come, though the stage has had fewer than it may. */
  finished?: boolean;
}

export class Checkpoints {
  readonly #folder: string;
  readonly #keep: number;

  /** `keep`: how many of the last to keep, beside the best. */
  constructor(folder: string, keep: number) {
    this.#folder = folder;
    this.#keep = keep;
  }

  /** The last one that is whole. */
  async latest(): Promise<LoopState | undefined> {
    await sweep(this.#folder);
    const step = (await this.#steps()).at(-1);
    if (step === undefined) return undefined;
    const path = join(this.#path(step), LOOP_STATE);
    const state = (await readJson(path)) as unknown as LoopState;
    if (state.step !== step || typeof state.state !== 'object')
      throw new TrainError(`${path}: is not the state of step ${step}`);
    return state;
  }

  /** Rejects with an EngineError where the state is of another shape. */
  load({ step }: LoopState, trainer: Trainer): Promise<void> {
    return trainer.loadState(join(this.#path(step), TRAINER_STATE));
  }

  /** `modelFolder`: that the stage's model was loaded from. */
  async save(state: LoopState, trainer: Trainer, modelFolder: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await writeFolder(this.#path(state.step), async (folder) => {
      await copyModelFiles(modelFolder, folder, inBf16);
      await trainer.saveWeights(folder);
      await trainer.saveState(join(folder, TRAINER_STATE));
      await writeJson(join(folder, LOOP_STATE), state);
    });
    const steps = await this.#steps();
    for (const step of steps.slice(0, -this.#keep))
      if (step !== state.best?.step) await removeFolder(this.#path(step));
  }

  /** Makes a checkpoint's model the folder `path`, without the states. */
  async publish(step: number, path: string): Promise<void> {
    const from = this.#path(step);
    await writeFolder(path, async (folder) => {
      // what is linked is never written again: checkpoints are replaced whole
      for (const name of await names(from))
        if (name !== TRAINER_STATE && name !== LOOP_STATE)
          await linkOrCopy(join(from, name), join(folder, name));
    });
  }

  async #steps(): Promise<number[]> {
    const steps = (await names(this.#folder)).flatMap((name) => {
      const match = /^step-(\d+)$/.exec(name);
      return match === null ? [] : [Number(match[1])];
    });
    return steps.sort((a, b) => a - b); // by name, a millionth would come before its predecessors
  }

  #path(step: number): string {
    return join(this.#folder, `step-${String(step).padStart(6, '0')}`);
  }
}
