// One round of node-llama-cpp: prints a line of JSON with prefill and decode of the work given as JSON, or with the
// version where none is given. Plain JavaScript that runs where it lies, beside the node_modules that only it needs.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getLlama, getModuleVersion, LlamaLogLevel } from 'node-llama-cpp';

const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  maxThreads: 0, // no limit but the context's own
  logLevel: LlamaLogLevel.error,
});
if (process.argv[2] === undefined) {
  const { release } = llama.llamaCppRelease;
  finish({ version: `llama.cpp ${release} in node-llama-cpp ${await getModuleVersion()}` });
}

const { model: modelPath, threads, trunk, tokens, streams: counts } = JSON.parse(process.argv[2]);
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  sequences: Math.max(...counts),
  contextSize: trunk + tokens + 1,
  batchSize: trunk,
  threads,
  ignoreMemorySafetyChecks: true,
});
const sequences = Array.from({ length: context.totalSequences }, () => context.getSequence());
const [first, ...others] = sequences;
const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
const prompt = Array.from({ length: trunk }, (_, i) => ((i + 1) * 7919) % vocabulary);
// Greedy, the cheapest of its samplers; every stream goes on for as long as it is asked.
const options = { temperature: 0, yieldEogToken: true };

await generate([first], 1, prompt.slice(0, 16)); // warms up
await first.clearHistory();
const prefill = trunk / (await generate([first], 1, prompt));
await share();

const decode = [];
for (const count of counts) {
  const streams = sequences.slice(0, count);
  decode.push({ streams: count, tokensPerSecond: (count * tokens) / (await generate(streams, tokens, [1])) });
  for (const stream of streams) {
    await stream.eraseContextTokenRanges([{ start: trunk, end: stream.nextTokenIndex }]);
  }
}
finish({ prefill, decode });

/** Seconds in which each stream takes in `start` and samples `steps` tokens, all of them in the same batches. */
async function generate(streams, steps, start) {
  const samples = streams.map((stream) => stream.evaluate(start, options));
  const begin = performance.now();
  for (let step = 0; step < steps; step++) await Promise.all(samples.map((sample) => sample.next()));
  const seconds = (performance.now() - begin) / 1000;
  await Promise.all(samples.map((sample) => sample.return()));
  return seconds;
}

/** Gives every sequence the first one's prompt without computing it again. */
async function share() {
  const folder = mkdtempSync(join(tmpdir(), 'npr-bench-'));
  try {
    const file = join(folder, 'state');
    await first.saveStateToFile(file);
    for (const sequence of others) await sequence.loadStateFromFile(file, { acceptRisk: true });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function finish(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
  process.exit();
}
