import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { labModel as model } from '../lab_model.js';

const addon = fileURLToPath(
  new URL('../../build/native/native/engine/addon/npr_addon.node', import.meta.url),
);

/** Loads the model in a worker's environment, without its tokenizer, and says when. */
const loading = `
const { parentPort, workerData } = require('node:worker_threads');
const options = {
  model: workerData.model, device: 'cpu', threads: 2, kvMemoryBytes: 2 ** 24, weights: 'bf16', isa: 'auto',
  maxBatchTokens: 512, maxRunning: 64, maxWaiting: 256, prefixCache: true,
};
const digits = Object.fromEntries([...'0123456789.'].map((digit) => [digit, []]));
const vocabulary = {
  bytes: new Uint8Array(0), offsets: new Uint32Array([0]), endTokens: [], turnHead: [], turnEnd: -1,
  newline: [], colon: [], digits,
};
const loaded = require(workerData.addon).load(options, vocabulary, () => {}, () => {});
parentPort.postMessage('loading');
`;

/** Twenty long answers at work. */
const running = `
loaded.then((engine) => {
  const sampling = {
    temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0,
    branchRepetitionPenalty: 1, logitBias: [], seed: 1n,
  };
  for (let id = 1; id <= 20; ++id) {
    engine.submit(id, {
      prompt: [id], n: 1, maxTokens: 500, minTokens: 0, ignoreEos: true, stop: [], stopTokenIds: [], sampling,
    });
  }
  parentPort.postMessage('running');
});
`;

async function reach(code: string, message: string): Promise<Worker> {
  const worker = new Worker(code, { eval: true, workerData: { addon, model } });
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (found) => {
      if (found === message) resolve();
    });
  });
  return worker;
}

// What goes wrong here takes the process down, these tests with it.
describe('the end of an environment', () => {
  it('may come while the model loads', async () => {
    for (let i = 0; i < 3; ++i) {
      const worker = await reach(loading, 'loading');
      expect(await worker.terminate()).toBe(1);
    }
  });

  it('may come while requests run', async () => {
    for (let i = 0; i < 3; ++i) {
      const worker = await reach(loading + running, 'running');
      expect(await worker.terminate()).toBe(1);
    }
  });
});
