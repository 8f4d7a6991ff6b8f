/** Streams on the wire: framing, slow readers, clients that leave. */
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  choiceFinished,
  delta,
  endless,
  failing,
  finished,
  flood,
  ScriptedEngine,
  sequential,
  started,
} from './double.js';
import { startServer, type TestServer, until } from './start.js';

const engine = new ScriptedEngine();
let server: TestServer;
beforeAll(async () => {
  server = await startServer(engine, { streamBuffer: 64 * 1024 });
});
afterAll(() => server.close());

const ask = { messages: [{ role: 'user', content: 'hi' }], stream: true };

function request(json: string, headers = '', path = '/v1/chat/completions'): string {
  return `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`;
}

/** A request by hand, so that the test decides when to read. */
function raw(body: object, path?: string): Socket {
  const socket = connect(server.port, '127.0.0.1');
  socket.write(request(JSON.stringify(body), '', path));
  return socket;
}

/** All that comes until the server closes the connection. */
async function received(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const data of socket) text += data;
  return text;
}

/** The body of an answer in chunks; throws where they are not well-formed. */
function unchunked(body: string): string {
  let rest = Buffer.from(body);
  let text = '';
  for (;;) {
    const [line = ''] = rest.toString().split('\r\n', 1);
    const start = line.length + 2;
    const end = start + Number.parseInt(line, 16);
    expect(rest.toString('latin1', end, end + 2)).toBe('\r\n');
    if (end === start) return text;
    text += rest.toString('utf8', start, end);
    rest = rest.subarray(end + 2);
  }
}

/** The content of every chunk that has some. */
function texts(events: string): string[] {
  const lines = events.split('\n').filter((line) => line.startsWith('data: {'));
  return lines.flatMap((line) => JSON.parse(line.slice(6)).choices[0].delta.content ?? []);
}

describe('framing', () => {
  it('is one data line an event, whatever the text', async () => {
    const odd = 'a\n\ndata: [DONE]\r\n\u2028 "\\ \u{1f600}';
    engine.script = async function* () {
      yield [started];
      yield [delta(odd)];
      yield [choiceFinished(), finished];
    };
    const response = await server.post('/v1/chat/completions', ask);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    const text = await response.text();
    const lines = text.split('\n');
    expect(lines.filter((line) => line !== '').every((line) => line.startsWith('data: '))).toBe(true);
    expect(text.endsWith('}\n\ndata: [DONE]\n\n')).toBe(true);
    const chunks = lines
      .filter((line) => line.startsWith('data: {'))
      .map((line) => JSON.parse(line.slice(6)));
    expect(chunks.map((chunk) => chunk.choices[0].delta.content ?? '').join('')).toBe(odd);
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
  });

  it('keeps the order of streams that share a connection, each a whole chunked body', async () => {
    engine.script = sequential;
    const socket = raw(ask);
    const json = JSON.stringify({ ...ask, max_tokens: 7 });
    socket.write(request(json, 'connection: close\r\n'));
    const [first = '', second = '', ...rest] = (await received(socket)).split('HTTP/1.1 200 OK').slice(1);
    expect(rest).toEqual([]);
    for (const answer of [first, second]) {
      const [head = '', body = ''] = answer.split(/\r\n\r\n(.*)/s);
      expect(head.toLowerCase()).toContain('transfer-encoding: chunked');
      expect(texts(unchunked(body))).toEqual(['', 'one', ' two', ' three']);
    }
  });

  it('is not chunked for a client of HTTP/1.0', async () => {
    engine.script = sequential;
    const socket = connect(server.port, '127.0.0.1');
    socket.write(request(JSON.stringify(ask)).replace('HTTP/1.1', 'HTTP/1.0'));
    const [head = '', body = ''] = (await received(socket)).split(/\r\n\r\n(.*)/s);
    expect(head.toLowerCase()).not.toContain('transfer-encoding');
    expect(texts(body)).toEqual(['', 'one', ' two', ' three']);
    expect(body.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it('ends with an error event where the engine fails on the way', async () => {
    engine.script = failing('internal', 'broken invariant', [[started], [delta('a')]]);
    const text = await (await server.post('/v1/chat/completions', ask)).text();
    const last = text.trim().split('\n\n').at(-1) ?? '';
    expect(JSON.parse(last.slice(6))).toMatchObject({
      error: { code: 'internal_error', type: 'server_error' },
    });
    expect(text).not.toContain('[DONE]');
  });
});

describe.each(['/v1/chat/completions', '/v1/completions'])('%s', (path) => {
  const body = path.includes('chat') ? ask : { prompt: 'hi', stream: true };

  it('cuts a reader off that is too slow, with a reason, and cancels', async () => {
    engine.script = flood;
    const socket = raw(body, path);
    socket.pause();
    await until(() => engine.requests.length > 0 && engine.running === 1);
    // The engine would write for ever: only the cut ends it.
    await until(() => engine.running === 0);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (data: string) => {
      text += data;
    });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    await closed;
    expect(text).toMatch(/"code":"slow_reader"/);
    expect(text).not.toContain('[DONE]');
    expect(await server.service.metrics.registry.metrics()).toMatch(/npr_slow_readers_total [1-9]/);
  });

  it('lets a reader have an event larger than the bound', async () => {
    const large = 'x'.repeat(256 * 1024);
    engine.script = async function* () {
      yield [started];
      yield [delta(large)];
      yield [delta('y')];
      yield [choiceFinished(), finished];
    };
    const text = await (await server.post(path, { ...body, stream: true })).text();
    expect(text).toContain(large);
    expect(text).toMatch(/\[DONE\]\n\n$/);
  });

  it.each([true, false])('is cancelled by a client that leaves (stream: %s)', async (stream) => {
    engine.script = endless;
    const socket = raw({ ...body, stream }, path);
    await until(() => engine.running === 1);
    socket.destroy();
    await until(() => engine.running === 0);
  });
});

describe('a request that offers HTTP/2', () => {
  const offer =
    'connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n';

  it.each([
    ['in the same packet', false],
    ['in a later one', true],
  ])('is answered over HTTP/1.1, its body %s', async (_, later) => {
    engine.script = sequential;
    const socket = connect(server.port, '127.0.0.1').setNoDelay();
    let text = '';
    socket.setEncoding('utf8').on('data', (data: string) => {
      text += data;
    });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const json = JSON.stringify({ ...ask, stream: false });
    const post = request(json, offer);
    const head = later ? post.length - json.length : post.length;
    socket.write(post.slice(0, head));
    if (later) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      socket.write(post.slice(head));
    }
    await until(() => text.includes('"content":"one two three"'));
    // The connection goes on.
    socket.write(`GET /health HTTP/1.1\r\nhost: x\r\n${offer}\r\n`);
    await until(() => text.includes('"status":"ready"'));
    socket.write(request(JSON.stringify(ask), 'connection: close\r\n'));
    await closed;
    expect(text.split('HTTP/1.1 200 OK')).toHaveLength(4);
    expect(text.split('HTTP/1.1')).toHaveLength(4);
  });

  it('or a WebSocket where there can be none keeps its body', async () => {
    engine.script = sequential;
    const socket = connect(server.port, '127.0.0.1');
    const headers = 'connection: Upgrade, close\r\nupgrade: websocket\r\n';
    socket.write(request(JSON.stringify({ ...ask, stream: false }), headers));
    expect((await received(socket)).split('HTTP/1.1 200 OK')).toHaveLength(2);
  });
});

it('cancels what is pipelined behind the request whose turn it is, and counts it', async () => {
  engine.script = endless;
  const other = await startServer(engine);
  const socket = connect(other.port, '127.0.0.1');
  for (const stream of [true, false, true]) socket.write(request(JSON.stringify({ ...ask, stream })));
  await until(() => engine.running === 3);
  socket.destroy();
  await until(() => engine.running === 0 && other.service.active === 0);
  expect(await other.service.metrics.registry.metrics()).toContain(
    'npr_http_requests_total{route="/v1/chat/completions",status="499"} 3',
  );
  await other.app.close();
});

it('cancels all prompts of a call when one fails', async () => {
  engine.script = async function* (request, signal) {
    if (request.prompt[0] === 5) yield* failing('internal', 'broken')(request, signal);
    else yield* endless(request, signal);
  };
  const response = await server.post('/v1/completions', { prompt: [[1], [2], [5]] });
  expect(response.status).toBe(500);
  await until(() => engine.running === 0);
});

it('runs no more prompts of one call at once than the engine runs requests', async () => {
  const few = await startServer(engine, { maxRunning: 2 });
  let most = 0;
  engine.script = async function* () {
    most = Math.max(most, engine.running);
    yield [started];
    await new Promise((resolve) => setImmediate(resolve));
    yield [delta('x')];
    yield [choiceFinished(), finished];
  };
  const response = await few.post('/v1/completions', { prompt: [[1], [2], [3], [4], [5]] });
  expect(((await response.json()) as { choices: unknown[] }).choices).toHaveLength(5);
  expect(most).toBe(2);
  await few.app.close();
});
