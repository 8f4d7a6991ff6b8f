/** Chat completions out of the engine's events: one assembly for plain, streamed and WebSocket responses. */
import type { Static } from 'typebox';
import type { Channel, EngineEvent, EngineRequest, EngineUsage, TokenLogprob } from '../../engine/types.js';
import { ChoiceBuilder } from '../../parallel/choice.js';
import type { Delta } from '../../parallel/flat_order.js';
import type { ServedModel } from '../model.js';
import type { ChatChunk, ChatRequest, ChatResponse } from '../schemas/chat.js';
import type { TokenTable } from '../tokens.js';
import { BranchDeltas } from './branch_deltas.js';
import { checkFailure, ending, type Finished, newId, now, usageOf } from './common.js';

type Chunk = Static<typeof ChatChunk>;
type Response = Static<typeof ChatResponse>;
type Choice = Chunk['choices'][number];
type Logprobs = NonNullable<Choice['logprobs']>;

export class ChatAssembly {
  readonly id = newId('chatcmpl');
  readonly #created = now();
  readonly #body: ChatRequest;
  readonly #request: EngineRequest;
  readonly #model: ServedModel;
  readonly #builders: ChoiceBuilder[];
  readonly #endings: (Finished | undefined)[];
  readonly #branches = new BranchDeltas();
  #usage: EngineUsage | undefined;

  constructor(body: ChatRequest, request: EngineRequest, model: ServedModel) {
    this.#body = body;
    this.#request = request;
    this.#model = model;
    this.#builders = Array.from(
      { length: request.n },
      () => new ChoiceBuilder(model.tokenizer.vocabulary.tags),
    );
    this.#endings = new Array(request.n).fill(undefined);
  }

  /** Takes the events of an engine step; returns what they add, in flat order. Throws where the engine failed. */
  push(events: readonly EngineEvent[]): { index: number; deltas: Delta[]; ending: Finished | undefined }[] {
    const added = new Map<number, { index: number; deltas: Delta[]; ending: Finished | undefined }>();
    for (const event of events) {
      checkFailure(event);
      if (event.type === 'finished') this.#usage = event.usage;
      if (!('choice' in event)) continue;
      const part = added.get(event.choice) ?? { index: event.choice, deltas: [], ending: undefined };
      part.deltas.push(...(this.#builders[event.choice]?.push(event) ?? []));
      if (event.type === 'choice_finished') this.#endings[event.choice] = part.ending = event;
      added.set(event.choice, part);
    }
    return [...added.values()];
  }

  /** The chunks that an engine step adds to a stream. */
  chunks(events: readonly EngineEvent[]): Chunk[] {
    const choices = this.push(events).flatMap(({ index, deltas, ending: end }) => [
      ...runs(deltas).map((run) => this.#choice(index, run)),
      ...(end ? [{ index, delta: {}, logprobs: null, ...ending(end, this.#request) }] : []),
    ]);
    const branchDeltas = this.#body.stream_options?.include_branches ? this.#branches.of(events) : [];
    if (choices.length === 0 && branchDeltas.length > 0) {
      const index = branchDeltas[0]?.index ?? 0;
      choices.push({ index, delta: {}, logprobs: null, finish_reason: null });
    }
    return choices.map((choice, i) =>
      this.#chunk(
        [choice],
        i === 0 && branchDeltas.length > 0 ? { parallel: { branch_deltas: branchDeltas } } : {},
      ),
    );
  }

  /** The chunks that open a stream: every choice's role. */
  opening(): Chunk[] {
    const ids = this.#body.return_token_ids ? { prompt_token_ids: this.#request.prompt } : {};
    return this.#builders.map((_, index) =>
      this.#chunk(
        [{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }],
        index === 0 ? ids : {},
      ),
    );
  }

  /** The chunk after the last one, where the request wants the usage. */
  closing(): Chunk[] {
    return this.#body.stream_options?.include_usage ? [{ ...this.#chunk([], {}), usage: this.usage }] : [];
  }

  response(): Response {
    return {
      id: this.id,
      object: 'chat.completion',
      created: this.#created,
      model: this.#model.name,
      choices: this.choices(),
      usage: this.usage,
      ...(this.#body.return_token_ids ? { prompt_token_ids: this.#request.prompt } : {}),
    };
  }

  /** All choices, once they are finished. */
  choices(): Response['choices'] {
    return this.#builders.map((builder, index) => {
      const end = this.#endings[index];
      if (end === undefined) throw new Error(`choice ${index} has no end`);
      const message = builder.message();
      const structured = this.#request.parallel !== undefined;
      return {
        index,
        message: {
          role: 'assistant',
          content: message.content,
          refusal: null,
          ...(message.reasoningContent === '' ? {} : { reasoning_content: message.reasoningContent }),
          ...(structured ? { parallel: { segments: message.segments } } : {}),
        },
        logprobs:
          this.#request.logprobs === undefined
            ? null
            : logprobs(this.#model.tokens, message.logprobs, message.forced),
        ...ending(end, this.#request),
        ...(this.#body.return_token_ids ? { token_ids: message.tokens, token_forced: message.forced } : {}),
      };
    });
  }

  get usage(): Response['usage'] {
    return usageOf(this.#usage ? [this.#usage] : [], this.#request.parallel !== undefined);
  }

  #chunk(choices: Choice[], extension: Partial<Chunk>): Chunk {
    return {
      id: this.id,
      object: 'chat.completion.chunk',
      created: this.#created,
      model: this.#model.name,
      choices,
      ...(this.#body.stream_options?.include_usage ? { usage: null } : {}),
      ...extension,
    };
  }

  #choice(index: number, run: Delta[]): Choice {
    const text = run.map((delta) => delta.text).join('');
    const tokens = run.flatMap((delta) => delta.tokens);
    const forced = run.flatMap((delta) => delta.tokens.map(() => delta.forced));
    const reported = run.flatMap((delta) => delta.logprobs ?? []);
    const channel: Channel = run[0]?.channel ?? 'content';
    return {
      index,
      delta: text === '' ? {} : channel === 'content' ? { content: text } : { reasoning_content: text },
      logprobs: reported.length > 0 ? logprobs(this.#model.tokens, reported, forced) : null,
      finish_reason: null,
      ...(this.#body.return_token_ids ? { token_ids: tokens, token_forced: forced } : {}),
    };
  }
}

/** Deltas in stretches of one channel; a stretch is one chunk. Those that add nothing to report are left out. */
function runs(deltas: readonly Delta[]): Delta[][] {
  const stretches: Delta[][] = [];
  for (const delta of deltas) {
    if (delta.text === '' && delta.tokens.length === 0) continue;
    const last = stretches.at(-1);
    if (last?.[0]?.channel === delta.channel) last.push(delta);
    else stretches.push([delta]);
  }
  return stretches;
}

function logprobs(table: TokenTable, entries: readonly TokenLogprob[], forced: readonly boolean[]): Logprobs {
  return {
    content: entries.map((entry, i) => ({
      ...table.report(entry.token, entry.logprob),
      top_logprobs: entry.top.map(([token, logprob]) => table.report(token, logprob)),
      ...(forced[i] ? { forced: true as const } : {}),
    })),
    refusal: null,
  };
}
