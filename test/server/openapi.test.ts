/** The OpenAPI document, and thousands of bodies made from it: valid ones, and ones with something wrong. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadEngine } from '../../src/engine/engine.js';
import type { Engine } from '../../src/engine/types.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';
import { Fuzzer, type Schema } from './fuzzer.js';
import { engineOptions, startServer, type TestServer, until } from './start.js';

interface Document {
  openapi: string;
  paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: Schema }> } }>>;
  components: { schemas: Record<string, Schema> };
}

let engine: Engine;
let server: TestServer;
let document: Document;
beforeAll(async () => {
  const tokenizer = await Tokenizer.load(labModel);
  // A small pool, so that a body without max_tokens soon ends.
  engine = await loadEngine(engineOptions({ kvMemoryBytes: 2 ** 19 }), tokenizer.vocabulary);
  server = await startServer(engine, { bodyLimit: 2 ** 20 });
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});
afterAll(() => server.close());

describe('the document', () => {
  it('describes every route', () => {
    expect(document.openapi).toBe('3.1.0');
    const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(routes.sort()).toEqual([
      'get /health',
      'get /metrics',
      'get /openapi.json',
      'get /v1/models',
      'get /v1/models/{id}',
      'get /v1/parallel',
      'post /v1/chat/completions',
      'post /v1/completions',
    ]);
  });

  it('has no dangling reference', () => {
    const text = JSON.stringify(document);
    for (const [, name = ''] of text.matchAll(/"\$ref":"([^"]*)"/g)) {
      expect(name).toMatch(/^#\/components\/schemas\//);
      expect(Object.keys(document.components.schemas)).toContain(name.split('/').at(-1));
    }
  });
});

describe.each(['/v1/chat/completions', '/v1/completions'])('bodies for %s', (path) => {
  it('never cause a 500, and leave the engine idle', async () => {
    const schema = document.paths[path]?.post?.requestBody?.content['application/json']?.schema as Schema;
    const fuzzer = new Fuzzer(20260101, document.components.schemas);
    const seen = new Map<number, number>();
    for (let round = 0; round < 1000; round++) {
      const valid = short(fuzzer.valid(schema) as Record<string, unknown>);
      const body = round % 2 === 0 ? valid : fuzzer.spoil(valid, schema);
      const response = await server.post(path, JSON.stringify(body));
      const text = await response.text();
      seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
      const shown = `${response.status} for ${JSON.stringify(body)}: ${text}`;
      expect(response.status < 500, shown).toBe(true);
      if (response.status !== 200) {
        expect(JSON.parse(text).error, shown).toMatchObject({
          code: expect.any(String),
          type: expect.any(String),
        });
      }
      expect(text, shown).not.toMatch(/internal_error/);
    }
    // Both kinds must have come through, or this shows nothing.
    expect(seen.get(200)).toBeGreaterThan(20);
    expect(seen.get(400)).toBeGreaterThan(100);
    await until(() => engine.stats().running + engine.stats().waiting === 0);
    const { slots } = engine.stats();
    expect(slots.free + slots.cached).toBe(slots.total);
    await engine.checkIntegrity();
  });
});

/** Few tokens each: this is about bodies, not about text. */
function short(body: Record<string, unknown>): Record<string, unknown> {
  const few: Record<string, unknown> = { ...body, max_tokens: 3 };
  delete few.max_completion_tokens;
  delete few.best_of;
  if (typeof few.n === 'number') few.n = 1 + (few.n % 3);
  if (typeof few.min_tokens === 'number') few.min_tokens %= 3;
  if (few.stream !== true) delete few.stream_options;
  if (few.logprobs !== true && 'messages' in few) delete few.top_logprobs;
  if (few.model !== undefined) few.model = 'npr-lab';
  if (few.logit_bias !== undefined) few.logit_bias = { '7': 1 };
  if (few.stop_token_ids !== undefined) few.stop_token_ids = [7];
  return few;
}
