/** What HTTP adds: the same requests to the engine directly and through the server, in turns. */
import autocannon from 'autocannon';
import { engineBench } from './native_program.js';
import { promptTokens, startServer } from './server.js';
import { type Spread, spread } from './spread.js';
import { number, percent, spreadText, table } from './table.js';

export interface Http {
  model: string;
  promptTokens: number;
  tokensPerRequest: number;
  rounds: number;
  /** GET /health: what a request costs that never meets the engine. */
  healthRequestsPerSecond: Spread;
  rows: Row[];
}

interface Row {
  callers: number;
  /** Tokens per second. */
  engine: Spread;
  plain: Spread;
  streamed: Spread;
  /** Of plain requests. */
  requestsPerSecond: Spread;
  latencyMs: { p50: Spread; p99: Spread };
  /** Time per token over the engine's own, less one. */
  overhead: { plain: Spread; streamed: Spread };
  /** What a plain request takes longer than in the engine alone. */
  addedMs: Spread;
}

const tokens = 64;
const body = {
  messages: [{ role: 'user', content: 'Compute 12*3 + 45*2 - 7*8.' }],
  max_tokens: tokens,
  ignore_eos: true,
  temperature: 0,
};

export async function measureHttp(
  model: string,
  directory: string,
  { threads, rounds, seconds }: { threads: number; rounds: number; seconds: number },
): Promise<Http> {
  const server = await startServer([
    ...['--model', directory, '--threads', String(threads)],
    ...['--kv-memory', '256MiB', '--log-level', 'silent'],
  ]);
  try {
    const chat = `${server.url}/v1/chat/completions`;
    const prompt = await promptTokens(server, body);
    const load = async (callers: number, stream: boolean) => {
      const result = await fire({
        url: chat,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...body, stream }),
        connections: callers,
        duration: seconds,
      });
      return {
        requests: result.requests.total / result.duration,
        p50: result.latency.p50,
        p99: result.latency.p99,
      };
    };
    const engine = async (callers: number) => {
      const lines = await engineBench('load', directory, {
        ...{ threads, rounds: 1, seconds, tokens, callers },
        prompt: prompt.join(','),
      });
      const line = lines.find((each) => each.type === 'load');
      if (line === undefined) throw new Error('engine_bench told nothing of its load');
      return line.tokens / line.seconds;
    };

    await load(4, false); // warms the code up
    const health: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const result = await fire({ url: `${server.url}/health`, connections: 8, duration: seconds });
      health.push(result.requests.total / result.duration);
    }
    const rows: Row[] = [];
    for (const callers of [1, 8, 32]) {
      const taken: { engine: number; plain: Awaited<ReturnType<typeof load>>; streamed: number }[] = [];
      for (let round = 0; round < rounds; round++) {
        taken.push({
          engine: await engine(callers),
          plain: await load(callers, false),
          streamed: (await load(callers, true)).requests * tokens,
        });
      }
      const each = (value: (round: (typeof taken)[number]) => number) => spread(taken.map(value));
      rows.push({
        callers,
        engine: each((round) => round.engine),
        plain: each((round) => round.plain.requests * tokens),
        streamed: each((round) => round.streamed),
        requestsPerSecond: each((round) => round.plain.requests),
        latencyMs: { p50: each((round) => round.plain.p50), p99: each((round) => round.plain.p99) },
        overhead: {
          plain: each((round) => round.engine / (round.plain.requests * tokens) - 1),
          streamed: each((round) => round.engine / round.streamed - 1),
        },
        addedMs: each((round) => 1000 * callers * (1 / round.plain.requests - tokens / round.engine)),
      });
    }
    return {
      model,
      promptTokens: prompt.length,
      tokensPerRequest: tokens,
      rounds,
      healthRequestsPerSecond: spread(health),
      rows,
    };
  } finally {
    await server.stop();
  }
}

/** Throws where any request failed: its time would say nothing. A machine that is busy otherwise may take its time. */
async function fire(options: autocannon.Options): Promise<autocannon.Result> {
  const result = await autocannon({ ...options, timeout: 60 });
  if (result.errors > 0 || result.non2xx > 0) {
    throw new Error(`${options.url}: ${result.errors} failed and ${result.non2xx} refused requests`);
  }
  return result;
}

export function httpText(http: Http): string {
  return [
    `HTTP over ${http.model}: ${http.promptTokens} prompt tokens (cached), ${http.tokensPerRequest} tokens a request, ${http.rounds} rounds: median (min to max)`,
    `GET /health, 8 callers: ${spreadText(http.healthRequestsPerSecond)} requests/s`,
    '',
    table(
      [
        'callers',
        'engine tokens/s',
        'HTTP tokens/s',
        'streamed tokens/s',
        'requests/s',
        'p50 ms',
        'p99 ms',
        'added ms',
        'overhead',
        'streamed',
      ],
      http.rows.map((row) => [
        String(row.callers),
        spreadText(row.engine),
        spreadText(row.plain),
        spreadText(row.streamed),
        number(row.requestsPerSecond.median),
        number(row.latencyMs.p50.median),
        number(row.latencyMs.p99.median),
        number(row.addedMs.median),
        percent(row.overhead.plain.median),
        percent(row.overhead.streamed.median),
      ]),
    ),
    'The load generator runs on the same cores.',
  ].join('\n');
}
