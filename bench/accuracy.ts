/** What int8 weights cost in accuracy: a model beside itself in bf16, on traces of greedy answers. */
import { readFileSync } from 'node:fs';
import { type RunningServer, startServer } from './server.js';
import { table } from './table.js';

export interface Accuracy {
  model: string;
  traces: number;
  /** Tokens of the traces that the model chose itself; each format sees the trace before it. */
  tokens: number;
  /** Share of them after which both formats' likeliest token is the same. */
  sameToken: number;
  /** Of the trace's own token, between the formats. */
  logprobDifference: { mean: number; max: number };
  /** Traces whose question each format answers right when it decodes by itself; `both`: with either. */
  right: { bf16: number; int8: number; both: number };
}

/** A greedy answer of the model, as an independent implementation gave it. */
interface Trace {
  question: string;
  answer: string;
  prompt_tokens: number[];
  tokens: number[];
  /** 1 where the structure, not the model, chose the token. */
  forced: (0 | 1)[];
}

interface Scored {
  /** Of each token of the trace that the model chose. */
  logprobs: number[];
  likeliest: string[];
  right: boolean;
}

export async function measureAccuracy(
  model: string,
  directory: string,
  { threads, traces: file }: { threads: number; traces: string },
): Promise<Accuracy> {
  const traces: Trace[] = JSON.parse(readFileSync(file, 'utf8'));
  const scored = async (weights: string) => {
    const server = await startServer([
      ...['--model', directory, '--threads', String(threads), '--weights', weights],
      ...['--kv-memory', '256MiB', '--log-level', 'silent'],
    ]);
    try {
      return await Promise.all(traces.map((trace) => score(server, trace)));
    } finally {
      await server.stop();
    }
  };
  return compared(model, await scored('bf16'), await scored('int8'));
}

/** Both of the same traces. */
export function compared(model: string, bf16: readonly Scored[], int8: readonly Scored[]): Accuracy {
  const pairs = bf16.map((one, i) => [one, int8[i] as Scored] as const);
  const differences = pairs.flatMap(([a, b]) =>
    a.logprobs.map((x, i) => Math.abs(x - (b.logprobs[i] ?? Number.NaN))),
  );
  const same = pairs.flatMap(([a, b]) => a.likeliest.map((token, i) => token === b.likeliest[i]));
  const right = (which: (a: Scored, b: Scored) => boolean) => pairs.filter(([a, b]) => which(a, b)).length;
  return {
    model,
    traces: pairs.length,
    tokens: differences.length,
    sameToken: same.filter(Boolean).length / same.length,
    logprobDifference: {
      mean: differences.reduce((sum, x) => sum + x, 0) / differences.length,
      max: differences.reduce((most, x) => Math.max(most, x), 0),
    },
    right: {
      bf16: right((a) => a.right),
      int8: right((_, b) => b.right),
      both: right((a, b) => a.right && b.right),
    },
  };
}

async function score(server: RunningServer, trace: Trace): Promise<Scored> {
  // Without the end of the turn: a raw prompt must end in one.
  const tokens = trace.tokens.slice(0, -1);
  const completion = await post<{
    choices: [{ logprobs: { token_logprobs: number[]; top_logprobs: Record<string, number>[] } }];
  }>(`${server.url}/v1/completions`, {
    prompt: [...trace.prompt_tokens, ...tokens],
    parallel: true,
    echo: true,
    max_tokens: 0,
    logprobs: 1,
  });
  const { token_logprobs, top_logprobs } = completion.choices[0].logprobs;
  const chosen = tokens.flatMap((_, i) => (trace.forced[i] ? [] : [trace.prompt_tokens.length + i]));
  const chat = await post<{ choices: [{ message: { content: string } }] }>(
    `${server.url}/v1/chat/completions`,
    { messages: [{ role: 'user', content: trace.question }], temperature: 0, parallel: true },
  );
  return {
    logprobs: chosen.map((i) => token_logprobs[i] ?? Number.NaN),
    likeliest: chosen.map((i) => likeliest(top_logprobs[i] ?? {})),
    right: chat.choices[0].message.content.includes(`\\boxed{${trace.answer}}`),
  };
}

function likeliest(top: Record<string, number>): string {
  const [first] = Object.entries(top).sort(([, a], [, b]) => b - a);
  return first?.[0] ?? '';
}

async function post<T>(url: string, body: object): Promise<T> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} answers ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

export function accuracyText({
  model,
  traces,
  tokens,
  sameToken,
  logprobDifference,
  right,
}: Accuracy): string {
  return [
    `${model}: int8 weights beside bf16, ${tokens} tokens of ${traces} greedy answers`,
    '',
    table(
      ['', 'int8 beside bf16'],
      [
        ['same likeliest token', `${(100 * sameToken).toFixed(2)}%`],
        ['log-probability off by, mean', logprobDifference.mean.toPrecision(2)],
        ['log-probability off by, at most', logprobDifference.max.toPrecision(2)],
        ['right answers, int8 / bf16 / both', `${right.int8} / ${right.bf16} / ${right.both}`],
      ],
    ),
  ].join('\n');
}
