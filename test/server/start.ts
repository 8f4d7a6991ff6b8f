/** Servers for tests: the true application and tokenizer over a scripted engine, on a free port. */
import type { AddressInfo } from 'node:net';
import OpenAI from 'openai';
import { vi } from 'vitest';
import { resolveSettings } from '../../src/config/resolve.js';
import { ServeSettings } from '../../src/config/settings.js';
import type { Engine, LoadOptions } from '../../src/engine/types.js';
import { createApp } from '../../src/server/app.js';
import { ServedModel } from '../../src/server/model.js';
import { Service } from '../../src/server/service.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';

// Limits only for what hangs: a busy machine takes its time.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

export async function startServer(engine: Engine, given: Partial<ServeSettings> = {}, name = 'npr-lab') {
  const server = await startLoading(given);
  server.service.ready(new ServedModel(name, engine, await Tokenizer.load(labModel)));
  return server;
}

/** A server whose model is not loaded. */
export async function startLoading(given: Partial<ServeSettings> = {}) {
  const settings = { ...resolveSettings(ServeSettings, { flags: {}, env: {} }), ...given };
  const service = new Service();
  const app = await createApp({ service, settings });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    app,
    service,
    settings,
    url,
    port,
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: given.apiKey ?? 'none', maxRetries: 0 }),
    post: (path: string, body: unknown, headers: Record<string, string> = {}) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    close: async () => {
      await app.close();
      await service.close();
    },
  };
}

/** For loadEngine with the lab model. */
export function engineOptions(given: Partial<LoadOptions> = {}): LoadOptions {
  return {
    model: labModel,
    device: 'cpu',
    threads: 2,
    kvMemoryBytes: 16 * 2 ** 20,
    weights: 'bf16',
    isa: 'auto',
    maxBatchTokens: 256,
    maxRunning: 64,
    maxWaiting: 256,
    prefixCache: true,
    ...given,
  };
}

export type TestServer = Awaited<ReturnType<typeof startServer>>;

/** Waits until `check` holds; fails after a minute. */
export async function until(check: () => boolean): Promise<void> {
  const end = Date.now() + 60_000;
  while (!check()) {
    if (Date.now() > end) throw new Error(`still not: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
