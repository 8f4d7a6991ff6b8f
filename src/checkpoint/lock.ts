/** One process at a time in a folder. */
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createServer } from 'node:net';

/** Another process holds the folder. */
export class FolderInUse extends Error {
  override name = 'FolderInUse';
}

/**
 * Holds the folder until what it returns is called or the process ends, however that ends: a name in Linux's abstract socket
 * namespace leaves nothing behind. Processes in other containers or on other machines are not seen. Throws a FolderInUse.
 */
export async function lockFolder(path: string): Promise<() => void> {
  const name = createHash('sha256')
    .update(await realpath(path))
    .digest('hex');
  const server = createServer().unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new FolderInUse(path) : error),
    );
    server.listen({ path: `\0npr-serve/${name}` }, resolve);
  });
  return () => server.close();
}
