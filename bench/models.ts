/** Models with random weights, made once, in build/bench. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { engineBench } from './native_program.js';
import { writeQwen3Gguf } from './peers/qwen3_gguf.js';

const folder = fileURLToPath(new URL('../../../build/bench/', import.meta.url));

/** As engine_bench names them: Qwen3-0.6B's, 1.2 GB, and one so small that a step is mostly overhead, 10 MB. */
export type Shape = 'qwen3-0.6b' | 'tiny';

/** In Hugging Face format. */
export function randomModel(shape: Shape): Promise<string> {
  return once(join(folder, `${shape}-random`), async (path) => {
    await engineBench('random', path, { shape });
  });
}

/** The same weights as GGUF. */
export async function randomGguf(shape: Shape): Promise<string> {
  const model = await randomModel(shape);
  return once(`${model}.gguf`, (path) => writeQwen3Gguf(model, path));
}

/** Under its name only once whole: an interrupted run leaves no half model behind. */
async function once(path: string, make: (path: string) => void | Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  process.stdout.write(`writing ${basename(path)} to build/bench\n\n`);
  const partial = `${path}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
  await make(partial);
  renameSync(partial, path);
  return path;
}
