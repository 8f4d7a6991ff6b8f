/** `npr-serve serve`. */
import type { AddressInfo } from 'node:net';
import pino from 'pino';
import { resolveSettings, type Sources } from '../config/resolve.js';
import { ServeSettings } from '../config/settings.js';
import { createApp } from '../server/app.js';
import type { ServedModel } from '../server/model.js';
import { Service } from '../server/service.js';
import { loadModel } from './load.js';

/** Serves until a signal stops it. Throws where the settings, the port or the model can't be used. */
export async function serve(sources: Sources): Promise<void> {
  const settings = resolveSettings(ServeSettings, sources);
  const logger = pino({ level: settings.logLevel }, pino.destination({ dest: 2, sync: true }));
  const service = new Service();
  const app = await createApp({ service, settings }, logger);
  // Listening comes first, so that /health can say that the model is loading.
  await app.listen({ host: settings.host, port: settings.port });
  const { port } = app.server.address() as AddressInfo;
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host;
  const url = `http://${host}:${port}`;

  let stopping = false;
  const stop = async (signal: NodeJS.Signals) => {
    // The second signal means now.
    if (stopping) process.exit(1);
    stopping = true;
    logger.info({ signal, running: service.active }, 'draining');
    await service.drain(settings.drainTimeout);
    await app.close();
    await service.close();
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);

  console.log(`loading ${settings.model}`);
  const model = await loadModel(settings, settings.servedModelName);
  service.ready(model);
  console.log(greeting(model, url, settings.apiKey !== undefined));
}

function greeting(model: ServedModel, url: string, key: boolean): string {
  const { backend, slots } = model.engine.info;
  const body = {
    messages: [{ role: 'user', content: 'Compute 9*4 + 7*6 + 8*3.' }],
    temperature: 0,
    ...(model.tokenizer.vocabulary.tags ? { parallel: true } : {}),
  };
  const auth = key ? ` -H "authorization: Bearer $NPR_SERVE_API_KEY"` : '';
  return [
    `${model.name} is ready at ${url} (${backend}, KV cache of ${slots} tokens)`,
    'try:',
    `  curl ${url}/v1/chat/completions -H 'content-type: application/json'${auth} -d '${JSON.stringify(body)}'`,
  ].join('\n');
}
