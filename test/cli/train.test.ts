import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockFolder } from '../../src/checkpoint/lock.js';
import { train } from '../../src/cli/train.js';
import { packageRoot } from '../../src/config/paths.js';

let output: string;
beforeEach(() => {
  output = mkdtempSync(join(tmpdir(), 'npr-train-'));
});
afterEach(() => rmSync(output, { recursive: true }));

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
