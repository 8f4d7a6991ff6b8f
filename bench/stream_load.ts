/**
 * Streams read as cheaply as Node.js can: raw sockets, no HTTP client, no JSON, one look at the clock for each piece
 * of data that arrives.
 */
import { connect } from 'node:net';

export interface StreamLoad {
  requests: number;
  seconds: number;
  /** Milliseconds between the pieces of one answer, from its first token on. */
  gaps: number[];
}

/** For about `seconds`, `streams` connections each send `body`, read the answer to its end, and send it again. */
export async function loadStreams(
  port: number,
  path: string,
  body: object,
  { streams, seconds }: { streams: number; seconds: number },
): Promise<StreamLoad> {
  const json = JSON.stringify(body);
  const request = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`;
  const load: StreamLoad = { requests: 0, seconds: 0, gaps: [] };
  const start = performance.now();
  const end = start + 1000 * seconds;
  await Promise.all(Array.from({ length: streams }, () => readAnswers(port, request, end, load)));
  load.seconds = (performance.now() - start) / 1000;
  return load;
}

/** How a whole answer ends: the last event, and the chunk of length 0. */
const ending = 'data: [DONE]\n\n\r\n0\r\n\r\n';

/** Rejects where an answer is refused or ends early: its time would say nothing. */
function readAnswers(port: number, request: string, end: number, load: StreamLoad): Promise<void> {
  return new Promise((resolve, reject) => {
    const buffer = Buffer.alloc(65536);
    let opened = false;
    /** When the last piece came; undefined before the first token. */
    let last: number | undefined;
    let tail = '';
    const callback = (bytes: number) => {
      const now = performance.now();
      const text = buffer.toString('latin1', 0, bytes);
      if (!opened && !text.startsWith('HTTP/1.1 200 ')) reject(new Error(`the server answers: ${text}`));
      if (last !== undefined) load.gaps.push(now - last);
      // The first event tells the role and comes before the first token.
      if (last !== undefined || opened || text.split('data: ').length > 2) last = now;
      opened = true;
      tail = (tail + text).slice(-ending.length);
      if (tail !== ending) return true;
      load.requests++;
      opened = false;
      last = undefined;
      tail = '';
      if (now < end) {
        socket.write(request);
      } else {
        socket.destroy();
        resolve();
      }
      return true;
    };
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer, callback } });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('an answer ended early')));
    socket.write(request);
  });
}
