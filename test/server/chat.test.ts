import type { Static } from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ChatResponse } from '../../src/server/schemas/chat.js';
import { failing, parallel, ScriptedEngine, sequential, started } from './double.js';
import { startServer, type TestServer } from './start.js';

const engine = new ScriptedEngine();
let server: TestServer;
beforeAll(async () => {
  server = await startServer(engine);
});
afterAll(() => server.close());
beforeEach(() => {
  engine.script = sequential;
});

const ask = { model: 'npr-lab', messages: [{ role: 'user' as const, content: 'Compute 1+1.' }] };

/** With the fields that the official client does not know. */
async function answerTo(body: object): Promise<Static<typeof ChatResponse>> {
  const response = await server.post('/v1/chat/completions', body);
  expect(response.status).toBe(200);
  return (await response.json()) as Static<typeof ChatResponse>;
}

describe('chat completions', () => {
  it('answers', async () => {
    const answer = await server.client.chat.completions.create(ask);
    expect(answer.object).toBe('chat.completion');
    expect(answer.choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: 'one two three', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
        stop_reason: null,
      },
    ]);
    expect(answer.usage).toEqual({
      prompt_tokens: 4,
      completion_tokens: 3,
      total_tokens: 7,
      prompt_tokens_details: { cached_tokens: 1 },
    });
  });

  it('passes every sampling field on', async () => {
    const more = {
      top_k: 5,
      min_p: 0.1,
      repetition_penalty: 1.1,
      min_tokens: 2,
      ignore_eos: true,
      stop_token_ids: [7],
    };
    await server.client.chat.completions.create({
      ...ask,
      ...more,
      n: 2,
      max_completion_tokens: 9,
      temperature: 0.5,
      top_p: 0.9,
      presence_penalty: 1,
      frequency_penalty: -1,
      logit_bias: { '17': -3 },
      seed: -1,
      stop: ['a', 'b'],
      logprobs: true,
      top_logprobs: 4,
    });
    expect(engine.requests.at(-1)).toMatchObject({
      n: 2,
      maxTokens: 9,
      minTokens: 2,
      ignoreEos: true,
      stop: ['a', 'b'],
      stopTokenIds: [7],
      logprobs: 4,
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 5,
        minP: 0.1,
        repetitionPenalty: 1.1,
        presencePenalty: 1,
        frequencyPenalty: -1,
        logitBias: [[17, -3]],
        seed: 2n ** 64n - 1n,
      },
    });
  });

  it('gives the room that is left where max_tokens is left out, and a fresh seed', async () => {
    await server.client.chat.completions.create(ask);
    await server.client.chat.completions.create({ ...ask, n: 4 });
    const [one, four] = engine.requests.slice(-2);
    const length = one?.prompt.length ?? 0;
    expect(one?.maxTokens).toBe(4096 - length);
    expect(four?.maxTokens).toBe(Math.floor((8192 - length) / 4));
    expect(one?.sampling.seed).not.toBe(four?.sampling.seed);
  });

  it('takes null for absent', async () => {
    const nulls = {
      temperature: null,
      stop: null,
      stream_options: null,
      seed: null,
      tools: null,
      max_tokens: null,
    };
    const response = await server.post('/v1/chat/completions', { ...ask, ...nulls });
    expect(response.status).toBe(200);
  });

  it('takes what other servers and their clients add without meaning anything by it', async () => {
    const reply = { role: 'assistant', content: '2' };
    const answered = { ...reply, refusal: null, audio: null, tool_calls: [], annotations: [] };
    const options = { prompt_cache_retention: '24h', prompt_cache_options: { mode: 'explicit' } };
    await answerTo({ messages: [...ask.messages, reply] });
    await answerTo({ messages: [...ask.messages, answered], ...options });
    const [plain, adorned] = engine.requests.slice(-2);
    expect(adorned?.prompt).toEqual(plain?.prompt);
  });

  it('splits a parallel answer, and counts its branches', async () => {
    engine.script = parallel;
    const body = { ...ask, parallel: { max_branches: 4, on_invalid: 'ignore' }, return_token_ids: true };
    const answer = await answerTo(body);
    expect(engine.requests.at(-1)?.parallel).toEqual({
      maxBranches: 4,
      maxDepth: 2,
      maxBranchTokens: 0,
      onInvalid: 'ignore',
    });
    const choice = answer.choices[0] as (typeof answer.choices)[number];
    expect(choice.message.content).toBe('\n2');
    expect(choice.message.reasoning_content).toMatch(
      /^<guideline>[\s\S]*<step>\n1: 1\+1 = 2\n<\/step>\n<step>\n2:[\s\S]*<\/takeaway>$/,
    );
    const segments = choice.message.parallel?.segments ?? [];
    expect(segments.map((segment) => segment.type)).toEqual(['block', 'text']);
    expect(segments.map((segment) => segment.text).join('')).toBe(
      `${choice.message.reasoning_content}${choice.message.content}`,
    );
    expect(choice.token_ids?.length).toBe(choice.token_forced?.length);
    expect(choice.token_forced?.filter(Boolean).length).toBe(9);
    expect(answer.prompt_token_ids).toEqual(engine.requests.at(-1)?.prompt);
    expect(answer.usage.parallel).toEqual({
      forced_tokens: 0,
      blocks: 0,
      branches: 0,
      critical_path_tokens: 3,
    });
  });

  it('prefills what it answered as it was, segments or tags', async () => {
    engine.script = parallel;
    const first = await answerTo({ ...ask, parallel: true });
    const { message } = first.choices[0] as (typeof first.choices)[number];
    const flat = `${message.reasoning_content}${message.content}`;
    const follow = async (assistant: object) => {
      const messages = [...ask.messages, assistant, { role: 'user', content: 'And now?' }];
      const response = await server.post('/v1/chat/completions', { messages });
      expect(response.status).toBe(200);
      return engine.requests.at(-1)?.prompt;
    };
    const whole = await follow(message);
    expect(await follow({ role: 'assistant', content: flat })).toEqual(whole);
    const { parallel: _, ...split } = message;
    expect(await follow(split)).toEqual(whole);
  });

  it('reports log-probabilities', async () => {
    const answer = await server.client.chat.completions.create({ ...ask, logprobs: true });
    expect(answer.choices[0]?.logprobs?.content).toHaveLength(3);
    expect(answer.choices[0]?.logprobs?.content?.[0]).toMatchObject({ logprob: -0.5, top_logprobs: [] });
  });

  it('tells the engine’s failures by their code', async () => {
    engine.script = failing('queue_full', 'the queue is full: 256 requests wait');
    const full = await server.post('/v1/chat/completions', ask);
    expect(full.status).toBe(429);
    expect(full.headers.get('retry-after')).toBe('1');
    expect(await full.json()).toMatchObject({ error: { code: 'queue_full', type: 'rate_limit_error' } });
    engine.script = failing('internal', 'broken invariant', [[started]]);
    const broken = await server.post('/v1/chat/completions', { ...ask, stream: true });
    expect(await broken.text()).toMatch(/"code":"internal_error"/);
  });
});

describe('chat streams', () => {
  it('concatenates to the answer, with usage last', async () => {
    const stream = await server.client.chat.completions.create({
      ...ask,
      n: 2,
      stream: true,
      stream_options: { include_usage: true },
    });
    const texts = ['', ''];
    let last: unknown;
    for await (const chunk of stream) {
      for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? '';
      last = chunk;
    }
    expect(texts).toEqual(['one two three', 'one two three']);
    expect(last).toMatchObject({ choices: [], usage: { total_tokens: 7 } });
  });

  it('arrives in flat order, with live branches beside it where asked', async () => {
    engine.script = parallel;
    const body = { ...ask, parallel: true, stream: true, stream_options: { include_branches: true } };
    const text = await (await server.post('/v1/chat/completions', body)).text();
    const frames = text.trim().split('\n\n');
    expect(frames.at(-1)).toBe('data: [DONE]');
    const chunks = frames.slice(0, -1).map((frame) => JSON.parse(frame.replace(/^data: /, '')));
    const reasoning = chunks.map((chunk) => chunk.choices[0]?.delta.reasoning_content ?? '').join('');
    expect(reasoning).toMatch(/<step>\n1: 1\+1 = 2\n<\/step>\n<step>\n2: 3-1\n<\/step>\n<takeaway>/);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('\n2');
    const live = chunks.flatMap((chunk) => chunk.parallel?.branch_deltas ?? []);
    const of = (branch: number) =>
      live
        .filter((part) => part.branch === branch)
        .map((part) => part.text)
        .join('');
    expect(of(1)).toBe('<step>\n1: 1+1 = 2\n</step>\n');
    expect(of(2)).toBe('<step>\n2: 3-1\n</step>\n');
    const order = live.map((part) => part.branch);
    expect(order.indexOf(2)).toBeLessThan(order.lastIndexOf(1));
    expect(chunks.at(-1).choices[0]?.finish_reason).toBe('stop');
  });

  it('answers with a plain status where the engine refuses before the first event', async () => {
    engine.script = failing('queue_full', 'full');
    const response = await server.post('/v1/chat/completions', { ...ask, stream: true });
    expect(response.status).toBe(429);
  });
});
