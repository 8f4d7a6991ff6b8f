/** `npm run bench`: measures, prints, and writes bench/results/<date>-<machine>.json. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type Accuracy, accuracyText, measureAccuracy } from './accuracy.js';
import { type Http, httpText, measureHttp } from './http.js';
import { type Kernels, kernelsText, measureKernels } from './kernels.js';
import { writeMadeUpTokenizer } from './made_up_tokenizer.js';
import { randomModel, type Shape } from './models.js';
import { batchedBench } from './peers/batched_bench.js';
import { type Comparison, compare, comparisonText } from './peers/comparison.js';
import type { Engine } from './peers/engine.js';
import { nodeLlamaCpp } from './peers/node_llama_cpp.js';
import { nprServe } from './peers/npr_serve.js';
import { floorsText, int8Text, measureSpeed, type Speed, speedText, startupText } from './speed.js';
import { measureStep, type Step, stepText } from './step.js';
import { measureStreams, type Streams, streamsText } from './streams.js';
import { measureTraining, type Training, trainingText } from './training.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const bundled = join(root, 'models', 'npr-tiny');
const lab = join(root, 'test', 'fixtures', 'npr-lab');
const parts = [
  'qwen3-0.6b',
  'bundled',
  'accuracy',
  'kernels',
  'step',
  'http',
  'streams',
  'training',
  'peers',
] as const;

const options = new Command('bench')
  .addOption(new Option('--only <part>', 'measure one part').choices(parts))
  .option('--quick', 'fewer rounds and tokens: to see that it works, not to quote')
  .option('--rounds <n>', 'how often each figure is taken (default: 5, quick: 1)', count)
  .option('--threads <n>', 'compute threads', count, availableParallelism())
  .option('--llama-batched-bench <path>', 'compare with this build of llama.cpp, too')
  .option('--torch <python>', 'compare training with the PyTorch of this Python, which has transformers, too')
  .parse()
  .opts<{
    only?: (typeof parts)[number];
    quick?: true;
    rounds?: number;
    threads: number;
    llamaBatchedBench?: string;
    torch?: string;
  }>();

const { threads } = options;
const wants = (part: (typeof parts)[number]) => options.only === undefined || options.only === part;
const rounds = options.rounds ?? (options.quick ? 1 : 5);
const results: {
  speed: Speed[];
  accuracy: Accuracy[];
  kernels: Kernels[];
  step: Step[];
  http: Http[];
  streams: Streams[];
  training: Training[];
  peers: Comparison[];
} = {
  speed: [],
  accuracy: [],
  kernels: [],
  step: [],
  http: [],
  streams: [],
  training: [],
  peers: [],
};
const peers = wants('peers') ? await findPeers() : [];

if (wants('qwen3-0.6b')) {
  const speed = await measureSpeed('qwen3-0.6b-random', await randomModel('qwen3-0.6b'), {
    threads,
    rounds,
    tokens: options.quick ? 8 : 32,
    weights: 'bf16,int8',
  });
  results.speed.push(speed);
  print([speedText, startupText, int8Text, floorsText].map((text) => text(speed)).join('\n\n'));
}
if (wants('bundled')) {
  const speed = await measureSpeed('npr-tiny', bundled, {
    threads,
    rounds,
    tokens: options.quick ? 32 : 256,
    weights: 'bf16',
  });
  results.speed.push(speed);
  print(
    `${speedText(speed)}\nA model this small stays in the caches: the machine's bandwidth is no limit to it.`,
  );
}
if (wants('accuracy')) {
  const accuracy = await measureAccuracy('npr-lab', lab, { threads, traces: join(lab, 'greedy.json') });
  results.accuracy.push(accuracy);
  print(accuracyText(accuracy));
}
if (wants('kernels')) {
  const widest = await measureKernels(threads, rounds);
  results.kernels.push(widest);
  if (!widest.backend.includes('avx2')) results.kernels.push(await measureKernels(threads, rounds, 'avx2'));
  print(results.kernels.map(kernelsText).join('\n\n'));
}
if (wants('step')) {
  const step = await measureStep(rounds);
  results.step.push(step);
  print(stepText(step));
}
if (wants('http')) {
  const http = await measureHttp('npr-tiny', bundled, { threads, rounds, seconds: options.quick ? 1 : 3 });
  results.http.push(http);
  print(httpText(http));
}
if (wants('streams')) {
  const random = await randomModel('qwen3-0.6b');
  writeMadeUpTokenizer(random);
  const big = await measureStreams('qwen3-0.6b-random', random, {
    ...{
      threads,
      rounds: Math.min(rounds, 3),
      streams: 16,
      content: 'a prompt of 512 tokens: '.padEnd(512, 'x'),
    },
    ...(options.quick ? { tokens: 8, seconds: 1, warmUp: 1 } : { tokens: 64, seconds: 5, warmUp: 5 }),
  });
  const small = await measureStreams('npr-tiny', bundled, {
    ...{ threads, rounds, streams: 64, content: 'Compute 12*3 + 45*2 - 7*8.' },
    ...(options.quick ? { tokens: 64, seconds: 1, warmUp: 1 } : { tokens: 256, seconds: 3, warmUp: 15 }),
  });
  results.streams.push(big, small);
  print([big, small].map(streamsText).join('\n\n'));
}
if (wants('training')) {
  const training = await measureTraining(threads, Math.min(rounds, 3), options.torch); // minutes a round
  results.training.push(training);
  print(trainingText(training));
}
if (peers.length > 0) {
  const tokens = options.quick ? 8 : 32;
  const measure = async (shape: Shape, streams: number[]) => {
    const work = { threads, trunk: 512, tokens, streams };
    const comparison = await compare([nprServe(commit() ?? 'unknown'), ...peers], shape, work, rounds);
    results.peers.push(comparison);
    print(comparisonText(comparison));
  };
  await measure('qwen3-0.6b', [1, 2, 4, 8, 16]);
  await measure('tiny', [16, 16, 16, 16, 16]); // a tenth of a second each
}
save();

/** A build that was asked for must run; that of npm is left out where it can't be had. */
async function findPeers(): Promise<Engine[]> {
  const found: Engine[] = [];
  try {
    found.push(await nodeLlamaCpp());
  } catch (error) {
    if (options.only === 'peers' && options.llamaBatchedBench === undefined) throw error;
    print(`without node-llama-cpp, which can't be installed or run here: ${(error as Error).message}`);
  }
  if (options.llamaBatchedBench !== undefined) found.push(batchedBench(options.llamaBatchedBench));
  return found;
}

function save(): void {
  const [cpu] = cpus();
  const model = cpu?.model.trim() ?? 'unknown';
  const now = new Date();
  const machine = {
    cpu: model,
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `Linux ${release()}`,
    node: process.version,
  };
  const slug = `${model.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-${machine.cores}`;
  const folder = options.quick ? join(root, 'build', 'bench') : join(root, 'bench', 'results');
  const part = options.only === undefined ? '' : `-${options.only}`; // does not take the place of a whole run
  const file = join(folder, `${now.toISOString().slice(0, 10)}-${slug}${part}.json`);
  mkdirSync(folder, { recursive: true });
  const run = { date: now.toISOString(), commit: commit(), quick: options.quick === true, threads };
  writeFileSync(file, `${JSON.stringify({ ...run, machine, ...results }, undefined, 2)}\n`);
  print(`written to ${file}`);
}

/** With a `+` where the working tree differs; undefined outside of a clone. */
function commit(): string | undefined {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty=+', '--abbrev=12'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}

function count(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError('expected a number from 1 to 9999');
  return Number(text);
}

function print(text: string): void {
  process.stdout.write(`${text}\n\n`);
}
