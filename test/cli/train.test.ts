import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { lockFolder } from '../../src/checkpoint/lock.js';
import { train } from '../../src/cli/train.js';
import { packageRoot } from '../../src/config/paths.js';
import { DataError } from '../../src/train/data/error.js';
import { labModel } from '../lab_model.js';

let output: string;
beforeEach(() => {
  output = mkdtempSync(join(tmpdir(), 'npr-train-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(output, { recursive: true });
});

const run = () => train({ config: join(packageRoot, 'config/train/tiny/all.json'), stage: 'all', output });

describe('the output folder', () => {
  it('is one run’s at a time', async () => {
    const unlock = await lockFolder(output);
    await expect(run()).rejects.toThrow(`${output}: another process is training there`);
    unlock();
  });

  it('is let go where a run fails', async () => {
    writeFileSync(join(output, 'notes.txt'), 'mine');
    await expect(run()).rejects.toThrow('is not empty');
    await expect(run()).rejects.toThrow('is not empty');
  });
});

/** A run of one stage of the lab model, in `output`. */
function base(data: object) {
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const config = join(output, 'run.json');
  const folder = join(output, 'run');
  const stages = { base: { steps: 2, batch_size: 2, max_length: 1000 } };
  const engine = { threads: 1, kv_memory: '32MiB' };
  writeFileSync(config, JSON.stringify({ model: labModel, output: folder, data, engine, stages }));
  return { folder, end: train({ config, stage: 'all' }) };
}

const logOf = (folder: string) => readFileSync(join(folder, 'train.log'), 'utf8');

it('the log tells what error ended a run', async () => {
  const { folder, end } = base({ files: [{ path: 'none.jsonl' }] });
  await expect(end).rejects.toThrow(DataError);
  expect(logOf(folder)).toMatch(/^\S+ ended by an error: .*none\.jsonl: ENOENT[^\n]*\n$/);
});

it('a run outlives who reads its output', async () => {
  const gone = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  const { folder, end } = base({ tasks: { families: ['products'], count: 10 } });
  for (const stream of [process.stdout, process.stderr]) stream.emit('error', gone);
  await end;
  expect(logOf(folder)).toMatch(/base 2\/2: [^\n]*\n[^\n]* base: done/);
});
