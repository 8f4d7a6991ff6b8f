/** What can't be read as HTTP: it reaches no route, and gets the API's kind of error all the same. */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { ApiError } from './errors.js';

export function refuseConnection(error: Error & { code?: string }, socket: Socket): void {
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: ServerResponse | null };
  // In the midst of an answer it would be read as a part of that.
  if (error.code !== 'ECONNRESET' && socket.writable && !answer?.headersSent) {
    const { status, body } = failureOf(error);
    const json = JSON.stringify(body);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'connection: close',
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(json)}`,
    ];
    socket.write(`${head.join('\r\n')}\r\n\r\n${json}`);
  }
  socket.destroy(error);
}

function failureOf({ code, message }: Error & { code?: string }): ApiError {
  if (code === 'HPE_HEADER_OVERFLOW')
    return new ApiError('headers_too_large', 'the headers are larger than 16 KiB together');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new ApiError('request_timeout', 'the request did not come in time');
  return new ApiError('bad_request', `this is not HTTP/1.1: ${message}`);
}
