/** A small trained model with golden answers beside it, for tests. */
import { fileURLToPath } from 'node:url';

export const labModel = fileURLToPath(new URL('./fixtures/npr-lab', import.meta.url));
