import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import WebSocket from 'ws';
import {
  choiceFinished,
  delta,
  endless,
  failing,
  finished,
  flood,
  parallel,
  ScriptedEngine,
  sequential,
  started,
} from './double.js';
import { startServer, type TestServer, until } from './start.js';

interface Event {
  type: string;
  id?: string;
  seq?: number;
  error?: { code: string; message: string; param: string | null };
  [field: string]: unknown;
}

const engine = new ScriptedEngine();
let server: TestServer;
const open: WebSocket[] = [];
beforeAll(async () => {
  server = await startServer(engine, { socketRequests: 3, bodyLimit: 4096, streamBuffer: 64 * 1024 });
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.terminate();
});
afterAll(() => server.close());

/** A connected client and all that it was told. */
async function connect(
  headers: Record<string, string> = {},
  url = server.url,
  more: WebSocket.ClientOptions = {},
) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/parallel`, { headers, ...more });
  open.push(socket);
  const events: Event[] = [];
  socket.on('message', (data) => events.push(JSON.parse(String(data))));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const send = (frame: unknown) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  return {
    socket,
    events,
    send,
    create: (id: string, more: object = {}) =>
      send({ type: 'chat.completion.create', id, request: { ...request, ...more } }),
    of: (id: string) => events.filter((event) => event.id === id),
    async end(id: string) {
      const over = () =>
        events.find(
          (event) => event.id === id && /completed|error/.test(event.type) && !/branch/.test(event.type),
        );
      await until(() => over() !== undefined);
      return over() as Event;
    },
  };
}

const request = { messages: [{ role: 'user', content: 'hi' }] };

describe('a request', () => {
  it('is told branch by branch, in numbered events', async () => {
    engine.script = parallel;
    const client = await connect();
    client.create('a', { parallel: true });
    const end = await client.end('a');
    const events = client.of('a');
    expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i));
    const types = events.map((event) => event.type);
    expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
      'completion.created',
      'trunk.delta',
      'block.opened',
      'branch.created',
      'branch.delta',
      'branch.created',
      'branch.delta',
      'branch.completed',
      'branch.delta',
      'branch.completed',
      'block.joined',
      'trunk.delta',
      'completion.completed',
    ]);
    expect(events[0]).toMatchObject({ model: 'npr-lab', prompt_tokens: 4, cached_tokens: 1 });
    expect(events.find((event) => event.type === 'block.opened')).toMatchObject({
      choice: 0,
      parent: 0,
      block: 0,
      plans: [
        { number: '1', text: '1: add' },
        { number: '2', text: '2: subtract' },
      ],
    });
    const text = (branch: number) =>
      events
        .filter((event) => event.branch === branch && event.type === 'branch.delta')
        .map((event) => event.text)
        .join('');
    expect(text(1)).toBe('<step>\n1: 1+1 = 2\n</step>\n');
    expect(text(2)).toBe('<step>\n2: 3-1\n</step>\n');
    expect(end).toMatchObject({
      choices: [
        {
          index: 0,
          finish_reason: 'stop',
          message: { content: '\n2', parallel: { segments: [{ type: 'block' }, {}] } },
        },
      ],
      usage: { total_tokens: 7, parallel: {} },
      timings: { queue_ms: 1, prompt_ms: 2, total_ms: 3, preemptions: 0 },
    });
  });

  it('tells the tokens where they are wanted, and takes options of streams as they come', async () => {
    engine.script = sequential;
    const client = await connect();
    client.create('a', { return_token_ids: true, stream_options: { include_usage: true } });
    const end = await client.end('a');
    expect(end).toMatchObject({ type: 'completion.completed', choices: [{ token_ids: expect.any(Array) }] });
    expect(end.prompt_token_ids).toEqual(engine.requests.at(-1)?.prompt);
    client.create('b');
    expect(await client.end('b')).not.toHaveProperty('prompt_token_ids');
  });

  it('runs beside others on one socket', async () => {
    engine.script = sequential;
    const client = await connect();
    for (const id of ['a', 'b', 'c']) client.create(id);
    for (const id of ['a', 'b', 'c']) {
      expect(await client.end(id)).toMatchObject({ type: 'completion.completed', seq: 4 });
    }
  });

  it('can be cancelled, and its id used again', async () => {
    engine.script = endless;
    const client = await connect();
    client.create('a');
    await until(() => client.of('a').length > 2);
    client.send({ type: 'chat.completion.cancel', id: 'a' });
    expect(await client.end('a')).toMatchObject({ type: 'error', error: { code: 'cancelled' } });
    await until(() => engine.running === 0);
    engine.script = sequential;
    client.events.length = 0;
    client.create('a');
    expect(await client.end('a')).toMatchObject({ type: 'completion.completed' });
  });

  it('is cancelled when the socket closes', async () => {
    engine.script = endless;
    const client = await connect();
    client.create('a');
    client.create('b');
    await until(() => engine.running === 2);
    client.socket.close();
    await until(() => engine.running === 0);
  });

  it('that fails leaves the socket usable', async () => {
    const client = await connect();
    engine.script = failing('queue_full', 'full');
    client.create('a');
    expect(await client.end('a')).toMatchObject({ error: { code: 'queue_full' } });
    engine.script = sequential;
    client.create('b');
    expect(await client.end('b')).toMatchObject({ type: 'completion.completed' });
  });
});

describe('errors', () => {
  it.each([
    ['{', 'invalid_json', /JSON/, undefined],
    ['3', 'invalid_value', /expected an object/, undefined],
    ['{}', 'invalid_value', /chat.completion.create/, undefined],
    ['{"type":"x","id":"a"}', 'invalid_value', /chat.completion.create/, 'a'],
    ['{"type":"chat.completion.create","id":"a"}', 'missing_field', /request is required/, 'a'],
    ['{"type":"chat.completion.create","id":"","request":{}}', 'invalid_value', /id/, ''],
    ['{"type":"chat.completion.create","id":7,"request":{}}', 'invalid_value', /id: expected/, undefined],
    [
      '{"type":"chat.completion.create","id":"a","request":[]}',
      'invalid_value',
      /request: expected an object/,
      'a',
    ],
    [
      '{"type":"chat.completion.create","id":"a","request":{},"x":1}',
      'unknown_field',
      /unknown field x/,
      'a',
    ],
    ['{"type":"chat.completion.create","id":"a","request":{}}', 'missing_field', /messages is required/, 'a'],
    [
      '{"type":"chat.completion.create","id":"a","request":{"messages":[],"tools":[]}}',
      'unsupported_field',
      /tools/,
      'a',
    ],
    ['{"type":"chat.completion.cancel","id":"a"}', 'not_found', /no request 'a'/, 'a'],
    ['{"type":"chat.completion.cancel"}', 'missing_field', /id is required/, undefined],
  ])('%s', async (frame, code, message, id) => {
    engine.script = sequential;
    const client = await connect();
    client.send(frame);
    await until(() => client.events.length > 0);
    expect(client.events[0]).toMatchObject({
      type: 'error',
      error: { code, message: expect.stringMatching(message) },
    });
    expect(client.events[0]?.id).toBe(id);
    client.create('after');
    expect(await client.end('after')).toMatchObject({ type: 'completion.completed' });
  });

  it('name an id in use and a socket with enough to do', async () => {
    engine.script = endless;
    const client = await connect();
    client.create('a');
    client.create('a');
    await until(() => client.events.some((event) => event.error?.message.includes('already running')));
    client.create('b');
    client.create('c');
    client.create('d');
    expect(await client.end('d')).toMatchObject({ error: { code: 'too_many_requests' } });
  });

  it('refuse binary frames', async () => {
    const client = await connect();
    client.socket.send(Buffer.from('{}'), { binary: true });
    await until(() => client.events.length > 0);
    expect(client.events[0]).toMatchObject({ error: { code: 'bad_request' } });
  });

  it('close a socket whose frame is too large', async () => {
    const client = await connect();
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    client.send('x'.repeat(5000));
    expect(await closed).toBe(1009);
  });
});

it('cuts a slow reader off with a reason', async () => {
  engine.script = flood;
  const client = await connect();
  client.create('a');
  client.socket.pause();
  await until(() => engine.running === 1);
  await until(() => engine.running === 0);
  const closed = new Promise((resolve) => client.socket.once('close', resolve));
  client.socket.resume();
  expect(await closed).toBe(4008);
  expect(client.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'slow_reader' } });
});

it('lets a reader have events larger than the bound', async () => {
  engine.script = async function* () {
    yield [started, delta('x'.repeat(8 * 2 ** 20)), choiceFinished(), finished];
  };
  const client = await connect();
  client.create('a');
  expect(await client.end('a')).toMatchObject({ type: 'completion.completed' });
  engine.script = sequential;
  client.create('b');
  expect(await client.end('b')).toMatchObject({ type: 'completion.completed' });
});

it('ends its requests before a stopping server closes it', async () => {
  const stopping = await startServer(engine);
  engine.script = sequential;
  const client = await connect({}, stopping.url);
  const closed = new Promise((resolve) => client.socket.once('close', resolve));
  client.create('a');
  await until(() => client.events.length > 0);
  await stopping.service.drain(60);
  expect(await closed).toBe(1001);
  expect(client.events.at(-1)).toMatchObject({ type: 'completion.completed' });
  await stopping.app.close();
});

it('does not hold a stopping server where its peer leaves the closing handshake unanswered', async () => {
  const stopping = await startServer(engine);
  const client = await connect({}, stopping.url);
  client.socket.pause();
  await stopping.service.drain(60);
  await stopping.app.close();
  // By itself ws waits 30 s.
}, 20_000);

it('is cut where its peer answers no pings', async () => {
  engine.script = sequential;
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    const gone = await connect({}, server.url, { autoPong: false });
    const there = await connect();
    const closed = new Promise((resolve) => gone.socket.once('close', resolve));
    const pinged = new Promise((resolve) => there.socket.once('ping', resolve));
    vi.advanceTimersByTime(30_000);
    await pinged;
    // Its answer comes behind that to the ping.
    there.create('a');
    await there.end('a');
    vi.advanceTimersByTime(30_000);
    expect(await closed).toBe(1006);
    there.create('b');
    expect(await there.end('b')).toMatchObject({ type: 'completion.completed' });
  } finally {
    vi.useRealTimers();
  }
});

it('asks for the API key', async () => {
  const locked = await startServer(engine, { apiKey: 'secret' });
  await expect(connect({}, locked.url)).rejects.toThrow('401');
  const client = await connect({ authorization: 'Bearer secret' }, locked.url);
  engine.script = sequential;
  client.create('a');
  expect(await client.end('a')).toMatchObject({ type: 'completion.completed' });
  client.socket.terminate();
  await locked.app.close();
});
