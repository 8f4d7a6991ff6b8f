/** Loading, draining, keys, and what a client sees of them. */
import { Agent, request as httpRequest } from 'node:http';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { ServedModel } from '../../src/server/model.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';
import {
  choiceFinished,
  delta,
  endless,
  failing,
  finished,
  ScriptedEngine,
  sequential,
  started,
  waiting,
} from './double.js';
import { startLoading, startServer, type TestServer, until } from './start.js';

const servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function start(...args: Parameters<typeof startServer>): Promise<TestServer> {
  const server = await startServer(...args);
  servers.push(server);
  return server;
}

const ask = { messages: [{ role: 'user', content: 'hi' }] };
const chat = '/v1/chat/completions';

it('answers 503 until the model is loaded', async () => {
  const server = await startLoading();
  servers.push(server);
  const health = await fetch(`${server.url}/health`);
  expect([health.status, await health.json()]).toEqual([503, { status: 'loading' }]);
  for (const response of [await server.post(chat, ask), await fetch(`${server.url}/v1/models`)]) {
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await response.json()).toMatchObject({ error: { code: 'loading', type: 'server_error' } });
  }
  expect((await fetch(`${server.url}/metrics`)).status).toBe(200);
  server.service.ready(new ServedModel('npr-lab', new ScriptedEngine(), await Tokenizer.load(labModel)));
  expect(await (await fetch(`${server.url}/health`)).json()).toEqual({
    status: 'ready',
    running: 0,
    waiting: 0,
  });
  expect((await server.post(chat, ask)).status).toBe(200);
});

it('says of itself that it has failed once its engine can compute nothing any more', async () => {
  const engine = new ScriptedEngine();
  engine.script = failing('unavailable', 'the GPU is lost');
  const server = await start(engine);
  for (let i = 0; i < 2; i++) {
    const response = await server.post(chat, ask);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      error: { code: 'unavailable', message: 'the GPU is lost' },
    });
    const health = await fetch(`${server.url}/health`);
    expect([health.status, await health.json()]).toEqual([503, { status: 'failed' }]);
  }
});

describe('draining', () => {
  it('lets running requests end and refuses new ones, on kept-alive connections too', async () => {
    const engine = new ScriptedEngine();
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    engine.script = async function* () {
      yield [started];
      await gate;
      yield [delta('done')];
      yield [choiceFinished(), finished];
    };
    const server = await start(engine);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await status(server.url, agent)).toBe(200);
    const running = server.post(chat, ask);
    await until(() => engine.running === 1);
    const drained = server.service.drain(60);
    expect(await status(server.url, agent)).toBe(503);
    const refused = await server.post(chat, ask);
    expect(await refused.json()).toMatchObject({ error: { code: 'draining' } });
    release();
    expect((await running).status).toBe(200);
    await drained;
    agent.destroy();
  });

  it('cancels what takes too long, and says so', async () => {
    const engine = new ScriptedEngine();
    engine.script = endless;
    const server = await start(engine);
    const plain = server.post(chat, ask);
    const stream = server.post(chat, { ...ask, stream: true });
    await until(() => engine.running === 2);
    await server.service.drain(0.05);
    expect(engine.running).toBe(0);
    expect((await plain).status).toBe(503);
    expect(await (await stream).text()).toMatch(/"code":"draining"/);
  });

  it('says so, too, to requests that still waited', async () => {
    const engine = new ScriptedEngine();
    engine.script = waiting;
    const server = await start(engine);
    const plain = server.post(chat, ask);
    const stream = server.post(chat, { ...ask, stream: true });
    await until(() => engine.running === 2);
    await server.service.drain(0.05);
    for (const response of [await plain, await stream]) {
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ error: { code: 'draining' } });
    }
  });

  it('lets a running call go through all its prompts', async () => {
    const engine = new ScriptedEngine();
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    engine.script = async function* () {
      yield [started];
      await gate;
      yield [choiceFinished(), finished];
    };
    const server = await start(engine, { maxRunning: 1 });
    const running = server.post('/v1/completions', { prompt: ['a', 'b', 'c'] });
    await until(() => engine.running === 1);
    const drained = server.service.drain(60);
    release();
    expect((await running).status).toBe(200);
    expect(engine.requests).toHaveLength(3);
    await drained;
  });
});

it('asks for the API key, but for health, metrics and the document', async () => {
  const server = await start(new ScriptedEngine(), { apiKey: 'secret' });
  for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'secret' }] as Record<
    string,
    string
  >[]) {
    const response = await server.post(chat, ask, headers);
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_api_key' } });
  }
  for (const path of ['/health', '/metrics', '/openapi.json']) {
    expect((await fetch(server.url + path)).status).toBe(200);
  }
  await server.client.models.list();
  const wrong = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
  await expect(wrong.models.list()).rejects.toThrow(OpenAI.AuthenticationError);
});

it('gives errors that the official client knows', async () => {
  const { client } = await start(new ScriptedEngine());
  const messages = [{ role: 'user' as const, content: 'hi' }];
  const create = (body: object) => client.chat.completions.create({ model: 'npr-lab', messages, ...body });
  await expect(create({ model: 'gpt' })).rejects.toThrow(OpenAI.NotFoundError);
  await expect(create({ temperature: 9 })).rejects.toMatchObject({
    status: 400,
    code: 'invalid_value',
    param: 'temperature',
    type: 'invalid_request_error',
  });
});

it('counts requests by route and status', async () => {
  const server = await start(new ScriptedEngine());
  await server.post(chat, ask);
  await server.post(chat, {});
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain('npr_http_requests_total{route="/v1/chat/completions",status="200"} 1');
  expect(metrics).toContain('npr_http_requests_total{route="/v1/chat/completions",status="400"} 1');
  expect(metrics).toContain('npr_time_to_first_token_seconds_count 1');
  expect(metrics).toContain('npr_inter_token_seconds_count 2');
  expect(metrics).toContain('npr_request_seconds_count 1');
  expect(metrics).toContain('npr_kv_slots 8192');
});

it('times only the requests that ran to their end', async () => {
  const engine = new ScriptedEngine();
  const server = await start(engine);
  const ended = async () =>
    /npr_request_seconds_count (\d+)/.exec(await server.service.metrics.registry.metrics())?.[1];
  engine.script = failing('queue_full', 'full');
  await server.post(chat, ask);
  engine.script = failing('internal', 'broken', [[started]]);
  await server.post(chat, ask);
  engine.script = endless;
  const client = new AbortController();
  const left = fetch(server.url + chat, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(ask),
    signal: client.signal,
  });
  await until(() => engine.running === 1);
  client.abort();
  await expect(left).rejects.toThrow();
  await until(() => engine.running === 0 && server.service.active === 0);
  expect(await ended()).toBe('0');
  engine.script = sequential;
  await server.post(chat, ask);
  expect(await ended()).toBe('1');
});

it('has the system look for peers that vanished', async () => {
  const { app } = await start(new ScriptedEngine());
  expect(app.server).toMatchObject({ keepAlive: true, keepAliveInitialDelay: 60 });
});

it('counts requests whose client left as such', async () => {
  const engine = new ScriptedEngine();
  const server = await start(engine);
  for (const script of [endless, waiting])
    for (const stream of [false, true]) {
      engine.script = script;
      const client = new AbortController();
      const left = fetch(server.url + chat, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...ask, stream }),
        signal: client.signal,
      }).then((response) => response.text());
      await until(() => engine.running === 1);
      client.abort();
      await expect(left).rejects.toThrow();
      await until(() => engine.running === 0 && server.service.active === 0);
    }
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  expect(metrics).toContain('npr_http_requests_total{route="/v1/chat/completions",status="499"} 4');
  expect(metrics).not.toContain('status="500"');
});

function status(url: string, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    httpRequest(`${url}/v1/models`, { agent }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    })
      .on('error', reject)
      .end();
  });
}
