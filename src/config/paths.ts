/** Where the package lies, whatever the working directory: the same two levels up from src/config and from dist/config. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const packageRoot = fileURLToPath(new URL('../../', import.meta.url));

export const bundledModel = join(packageRoot, 'models', 'npr-tiny');
