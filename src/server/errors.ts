/** Every error of the API: one table of codes, and the shape that OpenAI's clients read. */
import type { EngineErrorCode } from '../engine/types.js';

const table = {
  invalid_json: [400, 'invalid_request_error'],
  invalid_value: [400, 'invalid_request_error'],
  missing_field: [400, 'invalid_request_error'],
  unknown_field: [400, 'invalid_request_error'],
  unsupported_field: [400, 'invalid_request_error'],
  context_length_exceeded: [400, 'invalid_request_error'],
  kv_cache_exceeded: [400, 'invalid_request_error'],
  parallel_unsupported: [400, 'invalid_request_error'],
  bad_request: [400, 'invalid_request_error'],
  invalid_api_key: [401, 'authentication_error'],
  model_not_found: [404, 'invalid_request_error'],
  not_found: [404, 'invalid_request_error'],
  method_not_allowed: [405, 'invalid_request_error'],
  request_timeout: [408, 'invalid_request_error'],
  payload_too_large: [413, 'invalid_request_error'],
  unsupported_media_type: [415, 'invalid_request_error'],
  upgrade_required: [426, 'invalid_request_error'],
  queue_full: [429, 'rate_limit_error'],
  too_many_requests: [429, 'rate_limit_error'],
  slow_reader: [429, 'rate_limit_error'],
  headers_too_large: [431, 'invalid_request_error'],
  cancelled: [499, 'cancelled_error'],
  internal_error: [500, 'server_error'],
  loading: [503, 'server_error'],
  draining: [503, 'server_error'],
  unavailable: [503, 'server_error'],
} as const satisfies Record<string, readonly [status: number, type: string]>;

export type ErrorCode = keyof typeof table;

export interface ErrorBody {
  message: string;
  type: string;
  /** The request's field at fault, as a path: `messages[0].content`. */
  param: string | null;
  code: string;
}

/** An error that a client is told about. */
export class ApiError extends Error {
  override name = 'ApiError';
  readonly code: ErrorCode;
  readonly param: string | null;

  constructor(code: ErrorCode, message: string, param: string | null = null) {
    super(message);
    this.code = code;
    this.param = param;
  }

  get status(): number {
    return table[this.code][0];
  }

  get headers(): Record<string, string> {
    if (this.code === 'upgrade_required') return { connection: 'Upgrade', upgrade: 'websocket' };
    if (this.code === 'queue_full') return { 'retry-after': '1' };
    if (this.code === 'loading') return { 'retry-after': '5' };
    if (this.code === 'invalid_api_key') return { 'www-authenticate': 'Bearer' };
    return {};
  }

  get body(): { error: ErrorBody } {
    return {
      error: { message: this.message, type: table[this.code][1], param: this.param, code: this.code },
    };
  }
}

const engineCodes: Record<EngineErrorCode, ErrorCode> = {
  invalid_checkpoint: 'internal_error',
  invalid_request: 'invalid_value',
  context_length: 'context_length_exceeded',
  queue_full: 'queue_full',
  unavailable: 'unavailable',
  out_of_memory: 'internal_error',
  internal: 'internal_error',
};

/** The framework's own messages do not say what was expected. */
const frameworkErrors: Record<string, [ErrorCode, string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported_media_type',
    'expected a JSON body with content-type: application/json',
  ],
  FST_ERR_CTP_BODY_TOO_LARGE: [
    'payload_too_large',
    "the body is larger than this server's setting body-limit",
  ],
};

/** Whatever was thrown, as an error of the table. */
export function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (!(thrown instanceof Error)) return new ApiError('internal_error', String(thrown));
  const code = 'code' in thrown ? String(thrown.code) : '';
  if (thrown.name === 'EngineError' && Object.hasOwn(engineCodes, code)) {
    return new ApiError(engineCodes[code as EngineErrorCode], thrown.message);
  }
  if (thrown instanceof SyntaxError)
    return new ApiError('invalid_json', `the body is not JSON: ${thrown.message}`);
  const known = frameworkErrors[code];
  if (known) return new ApiError(...known);
  const status = 'statusCode' in thrown ? Number(thrown.statusCode) : 500;
  return new ApiError(status >= 400 && status < 500 ? 'bad_request' : 'internal_error', thrown.message);
}
