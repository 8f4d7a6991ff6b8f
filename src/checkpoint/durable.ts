/** Folders that are there whole or not at all, whenever the program is killed. */
import { copyFile, link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Of names that `sweep` removes. */
export const UNFINISHED = '.unfinished';

/**
 * Fills a new folder under a temporary name beside `path`, waits until the disk has it, and gives it its name; a folder of that
 * name is replaced. Nothing is left behind where `fill` rejects.
 */
export async function writeFolder(path: string, fill: (folder: string) => Promise<void>): Promise<void> {
  const temporary = path + UNFINISHED;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await fill(temporary);
    for (const name of await readdir(temporary)) await sync(join(temporary, name));
    await sync(temporary);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await removeFolder(path);
  await rename(temporary, path);
  await sync(dirname(path));
}

/** Likewise, of one file. Several strings are written one after another: together they may be too long for one. */
export async function writeFile(
  path: string,
  content: string | Uint8Array | Iterable<string>,
): Promise<void> {
  const temporary = path + UNFINISHED;
  const file = await open(temporary, 'w');
  try {
    const parts = typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
    for (const part of parts) await file.writeFile(part); // goes on where the last write ended
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await sync(dirname(path));
}

/** Never seen half removed under its own name. */
export async function removeFolder(path: string): Promise<void> {
  const doomed = join(dirname(path), `${basename(path)}.removed${UNFINISHED}`);
  await rm(doomed, { recursive: true, force: true });
  try {
    await rename(path, doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await rm(doomed, { recursive: true, force: true });
}

/** Removes what a killed program left unfinished in a folder, if the folder is there. */
export async function sweep(folder: string): Promise<void> {
  for (const name of await names(folder))
    if (name.endsWith(UNFINISHED)) await rm(join(folder, name), { recursive: true, force: true });
}

/** Of a folder's entries; none where it is not there. */
export async function names(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** For files that are never written in place: a second name, or a copy where the file system has none. */
export async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to);
  }
}
