/** Chat completions out of the engine's events: one assembly for plain, streamed and WebSocket responses. */
import type { Static } from 'typebox';
import type { Channel, EngineEvent, EngineRequest, EngineTimings, TokenLogprob } from '../../engine/types.js';
import { ChoiceBuilder } from '../../parallel/choice.js';
import type { Delta } from '../../parallel/flat_order.js';
import type { ServedModel } from '../model.js';
import type { ChatChunk, ChatRequest, ChatResponse } from '../schemas/chat.js';
import type { TokenTable } from '../tokens.js';
import { BranchDeltas } from './branch_deltas.js';
import { ending, type Finished, jsonTemplate, newId, now, usageOf } from './common.js';

type Chunk = Static<typeof ChatChunk>;
type Response = Static<typeof ChatResponse>;
type Choice = Chunk['choices'][number];
type Logprobs = NonNullable<Choice['logprobs']>;

interface State {
  builder: ChoiceBuilder;
  end: Finished | undefined;
  /** A chunk of nothing but text, of each channel. */
  text: Record<Channel, (text: string) => string>;
}

/** What the events of a step add to a choice. */
interface Part {
  index: number;
  state: State;
  /** In flat order. */
  deltas: Delta[];
}

export class ChatAssembly {
  readonly id = newId('chatcmpl');
  readonly #created = now();
  readonly #body: ChatRequest;
  readonly #request: EngineRequest;
  readonly #model: ServedModel;
  readonly #states: State[];
  readonly #branches = new BranchDeltas();
  #opened = false;
  #finished: Extract<EngineEvent, { type: 'finished' }> | undefined;

  constructor(body: ChatRequest, request: EngineRequest, model: ServedModel) {
    this.#body = body;
    this.#request = request;
    this.#model = model;
    this.#states = Array.from({ length: request.n }, (_, index) => ({
      builder: new ChoiceBuilder(model.tokenizer.vocabulary.tags),
      end: undefined,
      text: {
        content: jsonTemplate((content) => this.#chunk([piece(index, { content })])),
        block: jsonTemplate((reasoning_content) => this.#chunk([piece(index, { reasoning_content })])),
      },
    }));
  }

  /** Takes the events of an engine step. */
  push(events: readonly EngineEvent[]): Part[] {
    const parts: Part[] = [];
    for (const event of events) {
      if (event.type === 'finished') this.#finished = event;
      if (event.type === 'finished' || event.type === 'started' || event.type === 'prompt_logprobs') continue;
      const state = this.#states[event.choice];
      if (state === undefined) continue;
      const added = state.builder.push(event);
      const part = parts.find(({ index }) => index === event.choice);
      if (part) part.deltas.push(...added);
      else parts.push({ index: event.choice, state, deltas: added });
      if (event.type === 'choice_finished') state.end = event;
    }
    return parts;
  }

  /** The chunks, as JSON, that an engine step adds to a stream; the first step's open it with every choice's role. */
  chunks(events: readonly EngineEvent[]): string[] {
    const chunks = this.#opened ? [] : this.#opening();
    this.#opened = true;
    const live = this.#body.stream_options?.include_branches ? this.#branches.of(events) : [];
    let extension: Partial<Chunk> | undefined;
    if (live.length > 0) extension = { parallel: { branch_deltas: live } };
    const add = (choice: Choice) => {
      chunks.push(JSON.stringify(this.#chunk([choice], extension)));
      extension = undefined;
    };
    const bare = this.#request.logprobs === undefined && !this.#body.return_token_ids;
    for (const { index, state, deltas } of this.push(events)) {
      for (const run of runs(deltas)) {
        // Most of what a server writes.
        const plain = bare && run.text !== '' && extension === undefined;
        if (plain) chunks.push(state.text[run.channel](run.text));
        else add(this.#choice(index, run));
      }
      if (state.end) add({ ...piece(index, {}), ...ending(state.end, this.#request) });
    }
    if (live[0] && extension) add(piece(live[0].index, {}));
    return chunks;
  }

  #opening(): string[] {
    const ids = this.#body.return_token_ids ? { prompt_token_ids: this.#request.prompt } : {};
    return this.#states.map((_, index) =>
      JSON.stringify(this.#chunk([piece(index, { role: 'assistant', content: '' })], index === 0 ? ids : {})),
    );
  }

  /** The chunk after the last one, where the request wants the usage. */
  closing(): string[] {
    if (!this.#body.stream_options?.include_usage) return [];
    return [JSON.stringify({ ...this.#chunk([]), usage: this.usage })];
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
    return this.#states.map(({ builder, end }, index) => {
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
    return usageOf(this.#finished ? [this.#finished.usage] : [], this.#request.parallel !== undefined);
  }

  /** Once it is finished. */
  get timings(): EngineTimings | undefined {
    return this.#finished?.timings;
  }

  #chunk(choices: Choice[], extension: Partial<Chunk> = {}): Chunk {
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

  #choice(index: number, { channel, text, deltas }: Run): Choice {
    const forced = deltas.flatMap((delta) => delta.tokens.map(() => delta.forced));
    const reported = deltas.flatMap((delta) => delta.logprobs ?? []);
    return {
      ...piece(
        index,
        text === '' ? {} : channel === 'content' ? { content: text } : { reasoning_content: text },
      ),
      logprobs: reported.length > 0 ? logprobs(this.#model.tokens, reported, forced) : null,
      ...(this.#body.return_token_ids
        ? { token_ids: deltas.flatMap((delta) => delta.tokens), token_forced: forced }
        : {}),
    };
  }
}

/** A piece of a choice that does not end it. */
function piece(index: number, delta: Choice['delta']): Choice {
  return { index, delta, logprobs: null, finish_reason: null };
}

/** A stretch of deltas of one channel: one chunk. */
interface Run {
  channel: Channel;
  text: string;
  deltas: Delta[];
}

/** Deltas that add nothing to report are left out. */
function runs(deltas: readonly Delta[]): Run[] {
  const stretches: Run[] = [];
  for (const delta of deltas) {
    if (delta.text === '' && delta.tokens.length === 0) continue;
    const { channel, text } = delta;
    const last = stretches.at(-1);
    if (last?.channel === channel) {
      last.text += text;
      last.deltas.push(delta);
    } else {
      stretches.push({ channel, text, deltas: [delta] });
    }
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
