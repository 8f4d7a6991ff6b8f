/** A data file that cannot be used. The message begins with its path and, where there is one, the row. */
export class DataError extends Error {
  override name = 'DataError';

  constructor(path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, { cause });
  }
}
