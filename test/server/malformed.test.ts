import { connect } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endless, ScriptedEngine, sequential } from './double.js';
import { startServer, type TestServer, until } from './start.js';

const engine = new ScriptedEngine({ maxPositions: 128, slots: 200 });
let server: TestServer;
beforeAll(async () => {
  server = await startServer(engine, { bodyLimit: 64 * 1024 });
});
afterAll(() => server.close());

const chat = '/v1/chat/completions';
const text = '/v1/completions';
const messages = [{ role: 'user', content: 'hi' }];

/** What is sent, the status, what the message says, and the field it names. */
type Case = [body: unknown, status: number, message: RegExp, param?: string];

const chats: Case[] = [
  ['', 400, /the body is empty/],
  ['{', 400, /JSON/],
  ['{"messages": [}', 400, /JSON/],
  ['nonsense', 400, /JSON/],
  ['{"messages":[{"role":"user","content":"x"}],"__proto__":{"a":1}}', 400, /unknown field __proto__/],
  [null, 400, /the body: expected an object, got null/],
  [3, 400, /expected an object, got 3/],
  [[], 400, /expected an object, got an empty array/],
  ['"text"', 400, /expected an object, got "text"/],
  [{}, 400, /messages is required/, 'messages'],
  [{ messages: null }, 400, /messages is required/, 'messages'],
  [{ messages: 'hi' }, 400, /messages: expected a non-empty array, .* got "hi"/, 'messages'],
  [{ messages: [] }, 400, /messages: expected a non-empty array/, 'messages'],
  [{ messages: ['hi'] }, 400, /messages\[0\]: expected an object, got "hi"/, 'messages[0]'],
  [{ messages: [{}] }, 400, /messages\[0\].role is required/, 'messages[0].role'],
  [{ messages: [{ role: 'user' }] }, 400, /messages\[0\].content/, 'messages[0].content'],
  [{ messages: [{ role: 'user', content: null }] }, 400, /messages\[0\].content/, 'messages[0].content'],
  [
    { messages: [{ role: 'user', content: 4 }] },
    400,
    /expected a string or .*array.*got 4/,
    'messages[0].content',
  ],
  [
    { messages: [{ role: 'wizard', content: '' }] },
    400,
    /"system", .*"assistant", got "wizard"|or "assistant", got "wizard"/,
    'messages[0].role',
  ],
  [{ messages: [{ role: 'tool', content: '' }] }, 400, /got "tool"/, 'messages[0].role'],
  [{ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 400, /messages\[0\].content\[0\]/],
  [{ messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 400, /content\[0\].text is required/],
  [
    { messages: [{ role: 'user', content: [{ type: 'text', text: 1 }] }] },
    400,
    /content\[0\].text: expected a string, got 1/,
  ],
  [{ messages: [{ role: 'user', content: '', contnet: '' }] }, 400, /contnet \(did you mean 'content'\?\)/],
  [
    { messages: [{ role: 'user', content: '', parallel: { segments: [] } }] },
    400,
    /assistant/,
    'messages[0].parallel',
  ],
  [{ messages: [{ role: 'user', content: '', reasoning_content: '' }] }, 400, /assistant/],
  [
    { messages: [{ role: 'assistant', parallel: { segments: [{}] } }] },
    400,
    /segments\[0\]: expected an object of type "text"/,
  ],
  [
    { messages: [{ role: 'assistant', parallel: { segments: [{ type: 'text' }] } }] },
    400,
    /segments\[0\].text is required/,
  ],
  [{ messages: [{ role: 'assistant', parallel: { segments: [{ type: 'block' }] } }] }, 400, /block needs/],
  [
    { messages: [{ role: 'assistant', parallel: { segments: [{ type: 'block', text: '<guideline>' }] } }] },
    400,
    /segments\[0\].text/,
  ],
  [
    {
      messages: [
        {
          role: 'assistant',
          parallel: { segments: [{ type: 'block', branches: [{ segments: [{ type: 'text', text: 3 }] }] }] },
        },
      ],
    },
    400,
    /branches\[0\].segments\[0\].text: expected a string, got 3/,
  ],
  [{ messages, model: 'gpt-5' }, 404, /'gpt-5' does not exist.*'npr-lab'/, 'model'],
  [{ messages, model: 5 }, 400, /model: expected a string, got 5/, 'model'],
  [
    { messages, temperature: 'hot' },
    400,
    /temperature: expected a number from 0 to 2, got "hot"/,
    'temperature',
  ],
  [{ messages, temperature: -1 }, 400, /temperature: .*got -1/, 'temperature'],
  [{ messages, temperature: 2.5 }, 400, /got 2.5/, 'temperature'],
  ['{"messages":[{"role":"user","content":"x"}],"temperature":1e999}', 400, /temperature/, 'temperature'],
  [{ messages, top_p: 0 }, 400, /top_p: expected a number above 0 and at most 1, got 0/, 'top_p'],
  [{ messages, top_p: 1.1 }, 400, /top_p/, 'top_p'],
  [{ messages, top_k: 1.5 }, 400, /top_k: expected an integer/, 'top_k'],
  [{ messages, top_k: -2 }, 400, /top_k/, 'top_k'],
  [{ messages, min_p: 2 }, 400, /min_p/, 'min_p'],
  [{ messages, n: 0 }, 400, /n: expected an integer from 1 to 128, got 0/, 'n'],
  [{ messages, n: 1000 }, 400, /n: /, 'n'],
  [{ messages, presence_penalty: 3 }, 400, /presence_penalty/, 'presence_penalty'],
  [{ messages, frequency_penalty: -3 }, 400, /frequency_penalty/, 'frequency_penalty'],
  [{ messages, repetition_penalty: 0 }, 400, /repetition_penalty/, 'repetition_penalty'],
  [{ messages, max_tokens: 0 }, 400, /max_tokens: expected an integer from 1, got 0/, 'max_tokens'],
  [{ messages, max_tokens: -5 }, 400, /max_tokens/, 'max_tokens'],
  [{ messages, max_tokens: 1.5 }, 400, /max_tokens: expected an integer/, 'max_tokens'],
  [{ messages, max_tokens: 5, max_completion_tokens: 6 }, 400, /differ/, 'max_tokens'],
  [
    { messages, max_tokens: 126 },
    400,
    /prompt is \d+ tokens long and max_tokens is 126.*limit is 128/,
    'max_tokens',
  ],
  [{ messages, max_tokens: 90, n: 3 }, 400, /each of 3 samples.*KV cache holds 200/, 'max_tokens'],
  [{ messages, max_tokens: 500, parallel: true }, 400, /KV cache holds 200/, 'max_tokens'],
  [
    { messages: [{ role: 'user', content: 'word '.repeat(400) }] },
    400,
    /prompt is \d{3,} tokens long; the model's limit is 128/,
  ],
  [
    { messages: [{ role: 'developer', content: 'x', parallel: { segments: [] } }, ...messages] },
    400,
    /messages\[0\].parallel: belongs to an assistant message/,
    'messages[0].parallel',
  ],
  [{ messages, min_tokens: -1 }, 400, /min_tokens/, 'min_tokens'],
  [
    { messages, min_tokens: 9, max_tokens: 5 },
    400,
    /min_tokens: expected at most max_tokens \(5\), got 9/,
    'min_tokens',
  ],
  [{ messages, stop: '' }, 400, /stop: expected a non-empty string/, 'stop'],
  [{ messages, stop: [1] }, 400, /stop\[0\]: expected a non-empty string, got 1/, 'stop[0]'],
  [{ messages, stop: Array(17).fill('x') }, 400, /stop/, 'stop'],
  [{ messages, stop_token_ids: [512] }, 400, /stop_token_ids\[0\]: expected a token id below 512, got 512/],
  [{ messages, stop_token_ids: [-1] }, 400, /stop_token_ids\[0\]/],
  [{ messages, logit_bias: { a: 1 } }, 400, /logit_bias.a/],
  [
    { messages, logit_bias: { '4': 'x' } },
    400,
    /logit_bias\[?\.?4\]?: expected a number from -100 to 100, got "x"/,
  ],
  [{ messages, logit_bias: { '4': 101 } }, 400, /-100 to 100, got 101/],
  [{ messages, logit_bias: { '99999': 1 } }, 400, /logit_bias.99999: expected a token id below 512/],
  [{ messages, seed: 'lucky' }, 400, /seed: expected an integer/, 'seed'],
  [{ messages, seed: 0.5 }, 400, /seed/, 'seed'],
  ['{"messages":[{"role":"user","content":"x"}],"seed":9007199254740993}', 400, /seed/, 'seed'],
  [{ messages, logprobs: 3 }, 400, /logprobs: expected true or false, got 3/, 'logprobs'],
  [{ messages, top_logprobs: 3 }, 400, /top_logprobs requires logprobs/, 'top_logprobs'],
  [
    { messages, logprobs: true, top_logprobs: 21 },
    400,
    /top_logprobs: expected an integer from 0 to 20, got 21/,
  ],
  [{ messages, stream: 'yes' }, 400, /stream: expected true or false, got "yes"/, 'stream'],
  [{ messages, stream_options: { include_usage: true } }, 400, /requires stream/, 'stream_options'],
  [{ messages, stream: true, stream_options: { include_branch: true } }, 400, /include_branches/],
  [
    { messages, parallel: 'yes' },
    400,
    /parallel: expected true or false or an object, got "yes"/,
    'parallel',
  ],
  [
    { messages, parallel: { max_branches: 0 } },
    400,
    /parallel.max_branches: expected an integer from 1 to 256, got 0/,
  ],
  [
    { messages, parallel: { on_invalid: 'panic' } },
    400,
    /parallel.on_invalid: expected "constrain", "stop" or "ignore"/,
  ],
  [{ messages, parallel: { max_branchs: 3 } }, 400, /did you mean 'max_branches'/],
  [{ messages, tools: [] }, 400, /tools is not supported: /, 'tools'],
  [
    { messages: [{ role: 'assistant', content: '', tool_calls: [{ id: 'a' }] }] },
    400,
    /messages\[0\].tool_calls is not supported: /,
    'messages[0].tool_calls',
  ],
  [
    { messages: [...messages, { role: 'user', content: '', tool_call_id: 'a' }] },
    400,
    /messages\[1\].tool_call_id is not supported: /,
    'messages[1].tool_call_id',
  ],
  [
    { messages: [{ role: 'assistant', content: '', function_call: { name: 'a' } }] },
    400,
    /messages\[0\].function_call is not supported: /,
    'messages[0].function_call',
  ],
  [
    { messages: [{ role: 'assistant', content: '', annotations: [{}] }] },
    400,
    /messages\[0\].annotations is not supported: /,
    'messages[0].annotations',
  ],
  [{ messages, functions: [] }, 400, /functions is not supported: /, 'functions'],
  [{ messages, audio: {} }, 400, /audio is not supported: /, 'audio'],
  [
    { messages, response_format: { type: 'json_object' } },
    400,
    /response_format.type: expected "text", got "json_object"/,
  ],
  [{ messages, store: true }, 400, /store: expected false, got true/, 'store'],
  [{ messages, modalities: ['audio'] }, 400, /modalities\[0\]: expected "text"/],
  [
    { messages, tempreature: 1 },
    400,
    /unknown field tempreature \(did you mean 'temperature'\?\)/,
    'tempreature',
  ],
  [{ messages, ['x'.repeat(9000)]: 1 }, 400, /unknown field x{100}$/],
  [{ messages, chat_template_kwargs: 3 }, 400, /chat_template_kwargs: expected an object, got 3/],
  [`${'{"messages":'.repeat(200)}1${'}'.repeat(200)}`, 400, /nested deeper/],
  [
    { messages: [{ role: 'user', content: 'x'.repeat(70_000) }] },
    413,
    /larger than this server's setting body-limit/,
  ],
];

const completions: Case[] = [
  [{}, 400, /prompt is required/, 'prompt'],
  [{ prompt: 5 }, 400, /prompt: expected a string/, 'prompt'],
  [{ prompt: '' }, 400, /prompt: expected at least one token, got none/, 'prompt'],
  [{ prompt: [] }, 400, /prompt/, 'prompt'],
  [{ prompt: [[]] }, 400, /prompt/],
  [{ prompt: [1, 'a'] }, 400, /prompt/],
  [{ prompt: [1, 2.5] }, 400, /prompt/],
  [{ prompt: [-1] }, 400, /prompt/],
  [{ prompt: [3, 512] }, 400, /prompt\[1\]: expected a token id below 512, got 512/, 'prompt[1]'],
  [{ prompt: [[1], [99999]] }, 400, /prompt\[1\]\[0\]: expected a token id below 512/, 'prompt[1][0]'],
  [{ prompt: Array(20).fill('a'), n: 128 }, 400, /n: expected at most 102 with 20 prompts, got 128/, 'n'],
  [{ prompt: 'a', max_tokens: 0 }, 400, /echo/, 'max_tokens'],
  [{ prompt: 'a', max_tokens: -1 }, 400, /max_tokens: expected an integer from 0, got -1/, 'max_tokens'],
  [{ prompt: 'a', logprobs: true }, 400, /logprobs: expected an integer from 0 to 20, got true/, 'logprobs'],
  [{ prompt: 'a', logprobs: 99 }, 400, /logprobs/, 'logprobs'],
  [{ prompt: 'a', best_of: 3 }, 400, /best_of/, 'best_of'],
  [{ prompt: 'a', suffix: 'b' }, 400, /suffix is not supported: /, 'suffix'],
  [{ prompt: 'a', messages }, 400, /unknown field messages/, 'messages'],
  [{ prompt: 'a', model: 'other' }, 404, /'other' does not exist/, 'model'],
  [
    { prompt: Array(127).fill(3), max_tokens: 2 },
    400,
    /127 tokens long and max_tokens is 2.*at most 1/,
    'max_tokens',
  ],
  [{ prompt: Array(100).fill(3), n: 128 }, 400, /KV cache holds 200 tokens.*each of 128 samples/],
  [{ prompt: Array(150).fill(3) }, 400, /150 tokens long; the model's limit is 128/],
];

describe.each([
  [chat, chats],
  [text, completions],
])('%s refuses', (path, cases) => {
  it.each(cases.map((one) => [describeBody(one[0]), ...one] as const))(
    '%s',
    async (_, body, status, message, param) => {
      const response = await server.post(path, body);
      const { error } = (await response.json()) as {
        error: { message: string; param: string | null; code: string };
      };
      expect([response.status, error.message]).toEqual([status, expect.stringMatching(message)]);
      if (param !== undefined) expect(error.param).toBe(param);
      expect(error).toMatchObject({ type: expect.any(String), code: expect.any(String) });
      expect(engine.running).toBe(0);
    },
  );
});

describe('routes refuse', () => {
  it.each([
    ['GET', '/nowhere', 404, 'not_found'],
    ['POST', '/v1/embeddings', 404, 'not_found'],
    ['GET', chat, 405, 'method_not_allowed'],
    ['DELETE', '/v1/models', 405, 'method_not_allowed'],
    ['POST', '/health', 405, 'method_not_allowed'],
    ['GET', '/v1/models/other', 404, 'model_not_found'],
    ['GET', '/v1/models/%00', 404, 'model_not_found'],
    ['GET', '/v1/models/%', 400, 'bad_request'],
    ['GET', '/v1/parallel', 426, 'upgrade_required'],
  ])('%s %s', async (method, path, status, code) => {
    const response = await fetch(server.url + path, { method });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code } });
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', 'application/xml'])(
    'bodies of type %s',
    async (type) => {
      const response = await server.post(chat, '{}', { 'content-type': type });
      expect(response.status).toBe(415);
      expect(await response.json()).toMatchObject({
        error: { code: 'unsupported_media_type', message: expect.stringContaining('application/json') },
      });
    },
  );

  it('what should have been a WebSocket, saying so', async () => {
    const { headers } = await fetch(`${server.url}/v1/parallel`);
    expect([headers.get('upgrade'), headers.get('connection')]).toEqual(['websocket', 'Upgrade']);
  });

  it.each([
    ['nonsense\r\n\r\n', 400, 'bad_request'],
    ['GET /health HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n', 400, 'bad_request'],
    [`GET /health HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(17_000)}\r\n\r\n`, 431, 'headers_too_large'],
  ])('what is not HTTP: %.40s', async (bytes, status, code) => {
    const socket = connect(server.port, '127.0.0.1');
    socket.write(bytes);
    const [head = '', body = ''] = (await textOf(socket)).split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} .*\r\nconnection: close\r\n`));
    expect(JSON.parse(body)).toMatchObject({ error: { code, type: 'invalid_request_error', param: null } });
  });

  it('what is not HTTP behind a request, without a word within its answer', async () => {
    engine.script = endless;
    const socket = connect(server.port, '127.0.0.1');
    const json = JSON.stringify({ messages, stream: true });
    const head = `POST ${chat} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${json.length}`;
    socket.write(`${head}\r\n\r\n${json}`);
    const answer = textOf(socket);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.write('nonsense\r\n\r\n');
    expect((await answer).split('HTTP/1.1')).toHaveLength(2);
    await until(() => engine.running === 0);
    engine.script = sequential;
  });

  it('what is not UTF-8 JSON, without a 500', async () => {
    const response = await fetch(server.url + chat, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: new Uint8Array([0xff, 0xfe, 0x00, 0x7b]),
    });
    expect(response.status).toBe(400);
  });
});

function describeBody(body: unknown): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return text.length > 90 ? `${text.slice(0, 90)}...` : text;
}
