import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { FolderInUse, lockFolder } from '../../src/checkpoint/lock.js';

const folders: string[] = [];
const folder = async () => {
  const made = await mkdtemp(join(tmpdir(), 'npr-lock-'));
  folders.push(made);
  return made;
};
afterEach(async () => {
  for (const made of folders.splice(0)) await rm(made, { recursive: true });
});

it('is held by one at a time, until it is let go', async () => {
  const [one, other] = [await folder(), await folder()];
  const unlock = await lockFolder(one);
  await symlink(one, join(other, 'link'));
  await expect(lockFolder(join(other, 'link'))).rejects.toThrow(FolderInUse);
  (await lockFolder(other))();
  unlock();
  (await lockFolder(one))();
});
