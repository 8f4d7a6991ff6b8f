/** What can go wrong with a model's tokenizer files, and with the messages of a request. */

/** A file of the model directory that cannot be used. The message begins with its path. */
export class TokenizerFileError extends Error {
  constructor(path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, { cause });
    this.name = 'TokenizerFileError';
  }
}

/** Messages that cannot be made a prompt: the model has no chat template, or its template refuses them. */
export class ChatError extends Error {
  /** Of the faulty member, as in `messages[2].role`; `messages` where it is not one alone. */
  readonly path: string;

  constructor(path: string, message: string) {
    super(`${path}: ${message}`);
    this.name = 'ChatError';
    this.path = path;
  }
}
