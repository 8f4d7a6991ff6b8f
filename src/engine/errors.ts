import type { EngineErrorCode } from './types.js';

/** What the native engine refuses or fails with. */
export class EngineError extends Error {
  readonly code: EngineErrorCode;

  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EngineError';
    this.code = code;
  }
}

/** In the order of the enumeration in native/engine/error.h. */
export const engineErrorCodes: readonly EngineErrorCode[] = [
  'invalid_checkpoint',
  'invalid_request',
  'context_length',
  'queue_full',
  'unavailable',
  'out_of_memory',
  'internal',
];

/** The addon's exceptions carry a code; anything else (a TypeError at the border) stays as it is. */
export function engineError(error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (error instanceof Error && engineErrorCodes.includes(code as EngineErrorCode)) {
    return new EngineError(code as EngineErrorCode, error.message, { cause: error });
  }
  return error;
}
