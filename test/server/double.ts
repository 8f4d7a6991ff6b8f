/**
 * An engine that plays a script, for what the true one can't be made to do on demand: fail, stall, fill its queue, or
 * write without end. It keeps the books that a test reads: what runs, and what was asked for.
 */
import { EngineError } from '../../src/engine/errors.js';
import type {
  Engine,
  EngineErrorCode,
  EngineEvent,
  EngineRequest,
  EngineStats,
  EngineUsage,
  ModelInfo,
} from '../../src/engine/types.js';

export type Script = (request: EngineRequest, signal: AbortSignal) => AsyncIterable<EngineEvent[]>;

export class ScriptedEngine implements Engine {
  readonly info: ModelInfo;
  readonly requests: EngineRequest[] = [];
  script: Script = sequential;
  running = 0;
  closed = false;

  constructor(info: Partial<ModelInfo> = {}) {
    this.info = {
      vocabSize: 512,
      maxPositions: 4096,
      slots: 8192,
      backend: 'script',
      parameters: 0,
      ...info,
    };
  }

  async submit(
    request: EngineRequest,
    take: (events: EngineEvent[]) => void,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<void> {
    this.requests.push(request);
    this.running++;
    try {
      for await (const events of this.script(request, signal)) {
        if (signal.aborted) break;
        take(events);
      }
      // No more than that is sure: a request that still waited has no choices to end.
      if (signal.aborted) take([finished]);
    } finally {
      this.running--;
    }
  }

  stats(): EngineStats {
    const { slots } = this.info;
    const totals = {
      steps: 0,
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
      forcedTokens: 0,
      blocks: 0,
      branches: 0,
      preemptions: 0,
      requests: this.requests.length,
    };
    const used = this.running * 10;
    return {
      running: this.running,
      waiting: 0,
      branches: 0,
      slots: { total: slots, free: slots - used, cached: 0, used },
      totals,
    };
  }

  async trainer(): Promise<never> {
    throw new EngineError('invalid_request', 'a script has no weights');
  }

  async checkIntegrity(): Promise<void> {}

  async close(): Promise<void> {
    this.closed = true;
  }
}

export const usage: EngineUsage = {
  promptTokens: 4,
  cachedTokens: 1,
  completionTokens: 3,
  forcedTokens: 0,
  blocks: 0,
  branches: 0,
  criticalPathTokens: 3,
};

export const timings = { queueMs: 1, promptMs: 2, totalMs: 3, preemptions: 0 };

export const started: EngineEvent = { type: 'started', promptTokens: 4, cachedTokens: 1 };
export const finished: EngineEvent = { type: 'finished', usage, timings };

export function delta(
  text: string,
  more: Partial<Extract<EngineEvent, { type: 'delta' }>> = {},
): EngineEvent {
  const tokens = text.split(tagPattern).flatMap((part) => (part === '' ? [] : [tags.get(part) ?? 16]));
  return { type: 'delta', choice: 0, branch: 0, channel: 'content', text, tokens, forced: false, ...more };
}

/** The lab model's; a stretch of any other text counts as one token here. */
const tags = new Map<string, number>(
  ['guideline', 'plan', 'step', 'takeaway'].flatMap((name, i): [string, number][] => [
    [`<${name}>`, 369 + 2 * i],
    [`</${name}>`, 370 + 2 * i],
  ]),
);
const tagPattern = /(<\/?(?:guideline|plan|step|takeaway)>)/;

export function choiceFinished(choice = 0): Extract<EngineEvent, { type: 'choice_finished' }> {
  return { type: 'choice_finished', choice, reason: 'stop', usage };
}

/** "one two three", a word a step, for every sample. */
export async function* sequential(request: EngineRequest): AsyncGenerator<EngineEvent[]> {
  const choices = Array.from({ length: request.n }, (_, choice) => choice);
  yield [started];
  for (const word of ['one', ' two', ' three']) {
    const logprobs =
      request.logprobs === undefined ? {} : { logprobs: [{ token: 16, logprob: -0.5, top: [] }] };
    yield choices.map((choice) => delta(word, { choice, ...logprobs }));
  }
  yield [...choices.map(choiceFinished), finished];
}

/** One block of two branches that take turns, the second one faster. */
export async function* parallel(): AsyncGenerator<EngineEvent[]> {
  const block = { channel: 'block' } as const;
  const plans = [
    { number: '1', text: '1: add' },
    { number: '2', text: '2: subtract' },
  ];
  yield [started];
  yield [delta('<guideline>\n<plan>1: add</plan>\n<plan>2: subtract</plan>\n</guideline>', block)];
  yield [
    delta('\n', { ...block, forced: true }),
    { type: 'block_opened', choice: 0, branch: 0, block: 0, plans },
  ];
  for (const [index, { number }] of plans.entries()) {
    const branch = index + 1;
    yield [
      { type: 'branch_created', choice: 0, branch, parent: 0, block: 0, index, number },
      delta(`<step>\n${number}:`, { ...block, branch, forced: true }),
    ];
  }
  yield [delta(' 1+1', { ...block, branch: 1 }), delta(' 3-1\n</step>', { ...block, branch: 2 })];
  yield [
    delta('\n', { ...block, branch: 2, forced: true }),
    { type: 'branch_completed', choice: 0, branch: 2, block: 0, end: 'step_end', tokens: 9 },
  ];
  yield [delta(' = 2\n</step>', { ...block, branch: 1 })];
  yield [
    delta('\n', { ...block, branch: 1, forced: true }),
    { type: 'branch_completed', choice: 0, branch: 1, block: 0, end: 'step_end', tokens: 11 },
    { type: 'block_joined', choice: 0, branch: 0, block: 0 },
  ];
  yield [delta('<takeaway>\n', { ...block, forced: true })];
  yield [delta('both 2\n</takeaway>', block), delta('\n2')];
  yield [choiceFinished(), finished];
}

/** Runs until it is cancelled. */
export async function* endless(_: EngineRequest, signal: AbortSignal): AsyncGenerator<EngineEvent[]> {
  yield [started];
  while (!signal.aborted) {
    yield [delta(' on')];
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Waits until it is cancelled. */
export async function* waiting(_: EngineRequest, signal: AbortSignal): AsyncGenerator<EngineEvent[]> {
  while (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Writes without end, as fast as it is read. */
export async function* flood(_: EngineRequest, signal: AbortSignal): AsyncGenerator<EngineEvent[]> {
  yield [started];
  while (!signal.aborted) {
    yield [delta('x'.repeat(8192))];
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function failing(code: EngineErrorCode, message: string, after: EngineEvent[][] = []): Script {
  return async function* () {
    yield* after;
    throw new EngineError(code, message);
  };
}
