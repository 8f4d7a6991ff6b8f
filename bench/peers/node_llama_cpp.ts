/** llama.cpp as npm has it: node-llama-cpp's prebuilt binary, installed beside this file when it is wanted. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomGguf } from '../models.js';
import { output } from '../process.js';
import { type Decode, type Engine, round } from './engine.js';

const folder = fileURLToPath(new URL('../../../../bench/peers/', import.meta.url));

/** Rejects where it can't be installed or does not run on this machine. */
export async function nodeLlamaCpp(): Promise<Engine> {
  // npm writes this file last.
  if (!existsSync(join(folder, 'node_modules', '.package-lock.json'))) {
    process.stdout.write('installing node-llama-cpp in bench/peers\n\n');
    // Its optional packages are builds for GPUs and other machines; its install script would compile or download.
    const flags = ['--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
    await output('npm', ['ci', ...flags], { cwd: folder });
  }
  const { version } = JSON.parse(await child()) as { version: string };
  return {
    name: 'llama.cpp, npm',
    version,
    async measure(shape, work) {
      const options = { ...work, model: await randomGguf(shape) };
      const measured = JSON.parse(await child(JSON.stringify(options))) as {
        prefill: number;
        decode: Decode[];
      };
      return round([measured.prefill], measured.decode);
    },
  };
}

/** Its steps must all come from one thread: to each other one OpenMP gives compute threads of its own. */
function child(...options: string[]): Promise<string> {
  return output(process.execPath, [join(folder, 'node_llama_cpp_child.js'), ...options], {
    env: { ...process.env, UV_THREADPOOL_SIZE: '1' },
  });
}
