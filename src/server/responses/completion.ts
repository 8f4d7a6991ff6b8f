/** Text completions out of the engine's events: one assembly for plain and streamed responses. */
import type { Static } from 'typebox';
import type { EngineEvent, EngineRequest, EngineUsage, TokenLogprob } from '../../engine/types.js';
import { ChoiceBuilder } from '../../parallel/choice.js';
import type { Delta } from '../../parallel/flat_order.js';
import type { ServedModel } from '../model.js';
import type { CompletionChunk, CompletionRequest, CompletionResponse } from '../schemas/completions.js';
import { finite, TextOffsets } from '../tokens.js';
import { BranchDeltas } from './branch_deltas.js';
import { ending, type Finished, jsonTemplate, newId, now, usageOf } from './common.js';

type Chunk = Static<typeof CompletionChunk>;
type Response = Static<typeof CompletionResponse>;
type Choice = Response['choices'][number];
type Logprobs = NonNullable<Choice['logprobs']>;

interface State {
  builder: ChoiceBuilder;
  end: Finished | undefined;
  offsets: TextOffsets;
  opened: boolean;
  /** A chunk of nothing but text. */
  text: (text: string) => string;
}

/** Choices are numbered prompt by prompt: choice c of prompt p is p * n + c. */
export class CompletionAssembly {
  readonly #id = newId('cmpl');
  readonly #created = now();
  readonly #body: CompletionRequest;
  readonly #requests: EngineRequest[];
  readonly #model: ServedModel;
  readonly #n: number;
  readonly #states: State[];
  readonly #promptLogprobs: TokenLogprob[][];
  readonly #usages: EngineUsage[] = [];
  readonly #branches = new BranchDeltas();

  constructor(body: CompletionRequest, requests: EngineRequest[], model: ServedModel) {
    this.#body = body;
    this.#requests = requests;
    this.#model = model;
    this.#n = body.n ?? 1;
    this.#states = Array.from({ length: requests.length * this.#n }, (_, index) => ({
      builder: new ChoiceBuilder(model.tokenizer.vocabulary.tags),
      end: undefined,
      offsets: new TextOffsets(model.tokens),
      opened: false,
      text: jsonTemplate((text) => this.#chunk([{ ...this.#nothing(index), text }])),
    }));
    this.#promptLogprobs = requests.map(() => []);
  }

  /** Takes the events of one prompt's engine step; returns its choices' deltas. */
  push(prompt: number, events: readonly EngineEvent[]): Map<number, Delta[]> {
    const added = new Map<number, Delta[]>();
    for (const event of events) {
      if (event.type === 'finished') this.#usages.push(event.usage);
      if (event.type === 'prompt_logprobs') {
        for (const [i, entry] of event.logprobs.entries()) {
          const at = this.#promptLogprobs[prompt];
          if (at) at[event.first + i] = entry;
        }
      }
      if (!('choice' in event)) continue;
      const index = prompt * this.#n + event.choice;
      const state = this.#states[index];
      if (state === undefined) continue;
      added.set(index, [...(added.get(index) ?? []), ...state.builder.push(event)]);
      if (event.type === 'choice_finished') state.end = event;
    }
    return added;
  }

  /** The chunks, as JSON, that a prompt's engine step adds to a stream. */
  chunks(prompt: number, events: readonly EngineEvent[]): string[] {
    const chunks: string[] = [];
    const live = this.#body.stream_options?.include_branches
      ? this.#branches.of(events, prompt * this.#n)
      : [];
    let extension: Partial<Chunk> | undefined;
    if (live.length > 0) extension = { parallel: { branch_deltas: live } };
    const add = (choice: Choice) => {
      chunks.push(JSON.stringify({ ...this.#chunk([choice]), ...extension }));
      extension = undefined;
    };
    const bare = this.#body.logprobs === undefined && !this.#body.return_token_ids;
    for (const [index, deltas] of this.push(prompt, events)) {
      const state = this.#states[index];
      if (state === undefined) continue;
      const text = deltas.map((delta) => delta.text).join('');
      const tokens = deltas.flatMap((delta) => delta.tokens);
      if (tokens.length === 0 && state.end === undefined && text === '') continue;
      // Most of what a server writes; the first part may carry the echo.
      if (bare && state.opened && state.end === undefined && extension === undefined) {
        chunks.push(state.text(text));
        continue;
      }
      const forced = deltas.flatMap((delta) => delta.tokens.map(() => delta.forced));
      const logprobs = deltas.flatMap((delta) => delta.logprobs ?? []);
      add(this.#choice(index, state, { text, tokens, forced, logprobs }));
    }
    if (live[0] && extension) add(this.#nothing(live[0].index));
    return chunks;
  }

  closing(): string[] {
    if (!this.#body.stream_options?.include_usage) return [];
    return [JSON.stringify({ ...this.#chunk([]), usage: this.#usage })];
  }

  response(): Response {
    const choices = this.#states.map((state, index) => {
      const message = state.builder.message();
      const text = message.segments.map((segment) => segment.text).join('');
      return this.#choice(index, state, { ...message, text });
    });
    return { ...this.#chunk(choices), usage: this.#usage };
  }

  get #usage(): Response['usage'] {
    return usageOf(this.#usages, this.#requests[0]?.parallel !== undefined);
  }

  #chunk(choices: Choice[]): Chunk {
    return {
      id: this.#id,
      object: 'text_completion',
      created: this.#created,
      model: this.#model.name,
      choices,
      ...(this.#body.stream_options?.include_usage ? { usage: null } : {}),
    };
  }

  /** A part of a choice that adds nothing in flat order. */
  #nothing(index: number): Choice {
    return { index, text: '', logprobs: null, finish_reason: null, stop_reason: null };
  }

  /** A choice, or the next part of it; the first part carries the echo. */
  #choice(
    index: number,
    state: State,
    part: { text: string; tokens: number[]; forced: boolean[]; logprobs: TokenLogprob[] },
  ): Choice {
    const prompt = Math.floor(index / this.#n);
    const ids = this.#requests[prompt]?.prompt ?? [];
    const first = !state.opened;
    state.opened = true;
    const echo = first && this.#body.echo === true;
    const echoed = echo ? this.#promptText(prompt, ids) : '';
    const entries: (TokenLogprob | undefined)[] = echo
      ? ids.map((_, i) => this.#promptLogprobs[prompt]?.[i])
      : [];
    const choice: Choice = {
      index,
      text: echoed + part.text,
      logprobs:
        this.#body.logprobs === undefined
          ? null
          : this.#logprobs(
              [...(echo ? ids : []), ...part.tokens],
              [...entries, ...part.logprobs],
              state.offsets,
            ),
      ...(state.end ? ending(state.end, this.#requests[prompt]) : { finish_reason: null, stop_reason: null }),
    };
    if (this.#body.return_token_ids) {
      Object.assign(choice, { token_ids: part.tokens, token_forced: part.forced });
      if (first) choice.prompt_token_ids = ids;
    }
    return choice;
  }

  /** As the client wrote it: a token's text may differ, where the tokenizer normalizes. */
  #promptText(prompt: number, ids: number[]): string {
    const given = this.#body.prompt;
    const one = typeof given === 'string' ? given : given[prompt];
    return typeof one === 'string' ? one : this.#model.tokenizer.decode(ids);
  }

  #logprobs(tokens: number[], entries: (TokenLogprob | undefined)[], offsets: TextOffsets): Logprobs {
    const table = this.#model.tokens;
    return {
      tokens: tokens.map((token) => table.key(token)),
      token_logprobs: tokens.map((_, i) => (entries[i] ? finite(entries[i].logprob) : null)),
      top_logprobs: tokens.map((_, i) => (entries[i] ? table.alternatives(entries[i]) : null)),
      text_offset: tokens.map((token) => offsets.next(token)),
    };
  }
}
