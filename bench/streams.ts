/**
 * Many streams at once: what of the engine's own speed reaches their readers, how evenly, and what a token costs the
 * server's main thread, which runs all of its JavaScript.
 */
import { mainThreadTime } from './main_thread.js';
import { engineBench } from './native_program.js';
import { promptTokens, startServer } from './server.js';
import { type Spread, spread } from './spread.js';
import { loadStreams } from './stream_load.js';
import { percent, spreadText, table } from './table.js';

export interface Streams {
  model: string;
  streams: number;
  promptTokens: number;
  tokensPerRequest: number;
  rounds: number;
  /** Tokens per second. */
  engine: Spread;
  streamed: Spread;
  /** streamed / engine, within one round. */
  share: Spread;
  /** Of the engine alone. */
  stepMs: Spread;
  /** Between the pieces of one answer. */
  gapMs: { p50: Spread; p99: Spread };
  /** The 99th percentile over the step in the same round. */
  p99Steps: Spread;
  /**
   * Microseconds of the server's main thread per token, over everything it does from accepting connections to their
   * end. `user` is JavaScript, the addon's part of it, garbage collection on that thread and Node.js; `system` is the
   * kernel's work for it, nearly all of which is writing to sockets.
   */
  mainThread: { user: Spread; system: Spread };
}

export interface StreamOptions {
  threads: number;
  rounds: number;
  seconds: number;
  /** Seconds until JavaScript counts as compiled. */
  warmUp: number;
  streams: number;
  /** Of each answer. */
  tokens: number;
  /** What the user says. */
  content: string;
}

export async function measureStreams(
  model: string,
  directory: string,
  { threads, rounds, seconds, warmUp, streams, tokens, content }: StreamOptions,
): Promise<Streams> {
  const server = await startServer([
    ...['--model', directory, '--threads', String(threads)],
    ...['--max-running', String(streams), '--log-level', 'silent'],
  ]);
  try {
    const chat = '/v1/chat/completions';
    const body = {
      messages: [{ role: 'user', content }],
      max_tokens: tokens,
      ignore_eos: true,
      temperature: 0,
    };
    const prompt = await promptTokens(server, body);
    const engine = async () => {
      const options = { threads, rounds: 1, seconds, tokens, callers: streams, prompt: prompt.join(',') };
      const line = (await engineBench('load', directory, options)).find((each) => each.type === 'load');
      if (line === undefined) throw new Error('engine_bench told nothing of its load');
      return line.tokens / line.seconds;
    };
    const http = async (seconds: number) => {
      const before = mainThreadTime(server.pid);
      const load = await loadStreams(server.port, chat, { ...body, stream: true }, { streams, seconds });
      const after = mainThreadTime(server.pid);
      const streamed = load.requests * tokens;
      const gaps = load.gaps.sort((a, b) => a - b);
      const percentile = (share: number) => gaps[Math.floor(share * (gaps.length - 1))] ?? Number.NaN;
      return {
        perSecond: streamed / load.seconds,
        p50: percentile(0.5),
        p99: percentile(0.99),
        user: (1e6 * (after.user - before.user)) / streamed,
        system: (1e6 * (after.system - before.system)) / streamed,
      };
    };

    await http(warmUp);
    const taken: ({ engine: number; stepMs: number } & Awaited<ReturnType<typeof http>>)[] = [];
    for (let round = 0; round < rounds; round++) {
      const own = await engine();
      taken.push({ engine: own, stepMs: (1000 * streams) / own, ...(await http(seconds)) });
    }
    const each = (value: (round: (typeof taken)[number]) => number) => spread(taken.map(value));
    return {
      model,
      streams,
      promptTokens: prompt.length,
      tokensPerRequest: tokens,
      rounds,
      engine: each((round) => round.engine),
      streamed: each((round) => round.perSecond),
      share: each((round) => round.perSecond / round.engine),
      stepMs: each((round) => round.stepMs),
      gapMs: { p50: each((round) => round.p50), p99: each((round) => round.p99) },
      p99Steps: each((round) => round.p99 / round.stepMs),
      mainThread: { user: each((round) => round.user), system: each((round) => round.system) },
    };
  } finally {
    await server.stop();
  }
}

export function streamsText(streams: Streams): string {
  const share = ({ median, min, max }: Spread) => `${percent(median)} (${percent(min)} to ${percent(max)})`;
  return [
    `${streams.streams} streams of ${streams.model}: ${streams.promptTokens} prompt tokens (cached), ${streams.tokensPerRequest} tokens a request, ${streams.rounds} rounds: median (min to max)`,
    table(
      ['', 'found'],
      [
        ['engine alone, tokens/s', spreadText(streams.engine)],
        ['streamed over HTTP, tokens/s', spreadText(streams.streamed)],
        ['share of the engine', share(streams.share)],
        ['step of the engine alone, ms', spreadText(streams.stepMs)],
        ['between tokens, ms: p50', spreadText(streams.gapMs.p50)],
        ['between tokens, ms: p99', spreadText(streams.gapMs.p99)],
        ['p99 over the step', spreadText(streams.p99Steps)],
        ["JavaScript's thread per token, us: user", spreadText(streams.mainThread.user)],
        ["JavaScript's thread per token, us: kernel", spreadText(streams.mainThread.system)],
      ],
    ),
    'The reader of the streams runs on the same cores.',
  ].join('\n');
}
