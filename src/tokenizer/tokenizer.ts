/** Text to token ids and back: raw prompts, text that users typed, and chats. */
import { LRUCache } from 'lru-cache';
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import type { Vocabulary } from '../engine/types.js';
import { ForcedPieces } from '../parallel/forced.js';
import { isTag, TAGS } from '../parallel/tags.js';
import { decode, tokenBytes } from './bytes.js';
import { ChatTemplate } from './chat_template.js';
import { ChatError, TokenizerFileError } from './errors.js';
import { type Json, type ModelFiles, readModelFiles } from './files.js';
import { type ChatMessage, templateMessage } from './messages.js';
import { Placeholders } from './placeholders.js';
import { buildVocabulary } from './vocabulary.js';

export interface ChatOptions {
  /** End with the head of an assistant turn. */
  addGenerationPrompt: boolean;
  /** Further variables for the template, such as `enable_thinking`. Their strings are text like a message's. */
  templateKwargs?: Json | undefined;
}

/** Of encoded stretches of text, which conversations repeat turn after turn: about 16 MB. */
const CACHE_SIZE = 2 ** 21;

export class Tokenizer {
  readonly vocabulary: Vocabulary;
  readonly #full: NativeTokenizer;
  /** Knows no added token, so that no text becomes one. */
  readonly #plain: NativeTokenizer;
  readonly #template: ChatTemplate | undefined;
  readonly #added: Map<string, number>;
  readonly #specials: string[];
  /** Matches an added token, the longest where several begin; one capturing group. */
  readonly #pattern: RegExp;
  /** What stays a token in an assistant's text: the tags, and tokens such as `<think>` that are no control tokens. */
  readonly #assistantTokens: Set<string>;
  readonly #cache = new LRUCache<string, number[]>({
    maxSize: CACHE_SIZE,
    sizeCalculation: (ids, text) => text.length + ids.length + 1,
  });

  /** Reads a model directory. Throws a TokenizerFileError that names the file. */
  static async load(directory: string): Promise<Tokenizer> {
    const files = await readModelFiles(directory);
    const path = `${directory}/tokenizer.json`;
    const bytes = tokenBytes(files.vocab, files.addedTokens);
    const plain = nativeTokenizer(withoutAddedTokens(files), path);
    const vocabulary = await buildVocabulary(files, bytes, (text) => encodeWith(plain, text), directory);
    const full = nativeTokenizer({ ...files.tokenizer, truncation: null, padding: null }, path);
    for (const { content, id } of files.addedTokens) {
      // the library numbers added tokens itself
      const found = full.tokenToId(content);
      if (found !== id)
        throw new TokenizerFileError(path, `the added token ${content} has the id ${id}, not ${found}`);
    }
    let template: ChatTemplate | undefined;
    try {
      if (files.chatTemplate !== undefined)
        template = new ChatTemplate(files.chatTemplate, files.tokenizerConfig);
    } catch (error) {
      throw new TokenizerFileError(directory, `the chat template: ${(error as Error).message}`, error);
    }
    return new Tokenizer(files, vocabulary, full, plain, template);
  }

  private constructor(
    files: ModelFiles,
    vocabulary: Vocabulary,
    full: NativeTokenizer,
    plain: NativeTokenizer,
    template: ChatTemplate | undefined,
  ) {
    this.vocabulary = vocabulary;
    this.#full = full;
    this.#plain = plain;
    this.#template = template;
    this.#added = new Map(files.addedTokens.map(({ content, id }) => [content, id]));
    this.#specials = [...this.#added.keys()].sort((a, b) => b.length - a.length);
    const alternatives = this.#specials.map((special) => special.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    // without added tokens, a pattern that matches nowhere
    this.#pattern = new RegExp(alternatives.length > 0 ? `(${alternatives.join('|')})` : '(?!)', 'g');
    this.#assistantTokens = new Set<string>(TAGS);
    for (const { content, special } of files.addedTokens) if (!special) this.#assistantTokens.add(content);
  }

  /** A raw prompt: control tokens are recognised, and the post-processor adds what the model wants at the start. */
  encode(text: string): Promise<number[]> {
    return encodeWith(this.#full, text, true);
  }

  /** Text that a user typed: nothing in it becomes a control token. */
  async encodePlain(text: string): Promise<number[]> {
    const [ids = []] = await this.#encodePieces([text]);
    return [...ids];
  }

  /**
   * A raw prompt as the engine would have it: like `encode` without the post-processor, but in assistant turns the
   * tokens that the engine forces stand as it forces them.
   */
  async encodeTurns(text: string): Promise<number[]> {
    return this.#encodeTurns(text, (part) => part);
  }

  /** An assistant's turn, from after its head to before its end, as the engine would have it: tags are tokens. */
  async encodeResponse(text: string): Promise<number[]> {
    const placeholders = new Placeholders(this.#specials, this.#pattern);
    const hidden = placeholders.hide(text, this.#assistantTokens);
    return this.#encodeTurns(hidden, (part) => placeholders.restore(part), new ForcedPieces());
  }

  /** The text of tokens, control tokens included. */
  decode(ids: readonly number[]): string {
    return decode(this.vocabulary, ids);
  }

  /**
   * The prompt of a chat. What messages contain stays text: no special string in them becomes a control token, but the
   * eight tags (and tokens such as `<think>`) in an assistant's. Otherwise the ids are those of the rendered template.
   * Throws a ChatError or a SegmentError that names the faulty member.
   */
  async renderChat(messages: readonly ChatMessage[], options: ChatOptions): Promise<number[]> {
    if (this.#template === undefined) throw new ChatError('messages', 'the model has no chat template');
    const placeholders = new Placeholders(this.#specials, this.#pattern);
    const hidden = messages.map((message, i) => {
      const { role, content, reasoning_content } = templateMessage(message, `messages[${i}]`);
      const keep = role === 'assistant' ? this.#assistantTokens : undefined;
      const text = { role, content: placeholders.hide(content, keep) };
      if (reasoning_content === undefined) return text;
      return { ...text, reasoning_content: placeholders.hide(reasoning_content, keep) };
    });
    const kwargs = placeholders.hideAll(options.templateKwargs ?? {}) as Json;
    const rendered = this.#template.render(hidden, options.addGenerationPrompt, kwargs);
    return this.#encodeTurns(rendered, (part) => placeholders.restore(part));
  }

  /** `turn`: of an assistant, that the text begins in. */
  async #encodeTurns(
    text: string,
    restore: (part: string) => string,
    turn?: ForcedPieces,
  ): Promise<number[]> {
    const pieces: (number | string)[] = [];
    let head = false; // the part before this one began a turn
    for (const part of text.split(this.#pattern)) {
      if (part === '') continue;
      const id = this.#added.get(part);
      if (id === undefined) {
        const plain = restore(part);
        if (head && plain.startsWith('assistant\n')) turn = new ForcedPieces();
        pieces.push(...(turn?.text(plain) ?? [plain]));
      } else {
        if (part === '<|im_start|>' || part === '<|im_end|>') turn = undefined;
        else if (isTag(part)) turn?.tag(part);
        pieces.push(id);
      }
      head = part === '<|im_start|>';
    }
    const encoded = await this.#encodePieces(pieces.filter((piece) => typeof piece === 'string'));
    let next = 0;
    return pieces.flatMap((piece) => (typeof piece === 'number' ? piece : (encoded[next++] as number[])));
  }

  async #encodePieces(texts: readonly string[]): Promise<number[][]> {
    const found = new Map<string, number[]>();
    const missing: string[] = [];
    for (const text of new Set(texts)) {
      const ids = this.#cache.get(text);
      if (ids === undefined) missing.push(text);
      else found.set(text, ids);
    }
    if (missing.length > 0) {
      const encodings = await this.#plain.encodeBatch(missing, { addSpecialTokens: false });
      for (const [i, text] of missing.entries()) {
        const ids = encodings[i]?.getIds() ?? [];
        found.set(text, ids);
        this.#cache.set(text, ids);
      }
    }
    return texts.map((text) => found.get(text) as number[]);
  }
}

/** A token of the model's own vocabulary that is spelled like an added one goes too: merges do not lead to it. */
function withoutAddedTokens({ tokenizer, vocab, addedTokens }: ModelFiles): Json {
  const specials = new Set(addedTokens.map(({ content }) => content));
  const ordinary = [...vocab].filter(([token]) => !specials.has(token));
  const model = { ...(tokenizer.model as Json), vocab: Object.fromEntries(ordinary) };
  return { ...tokenizer, model, added_tokens: [], post_processor: null, truncation: null, padding: null };
}

function nativeTokenizer(json: Json, path: string): NativeTokenizer {
  try {
    return NativeTokenizer.fromString(JSON.stringify(json));
  } catch (error) {
    throw new TokenizerFileError(path, (error as Error).message, error);
  }
}

async function encodeWith(
  tokenizer: NativeTokenizer,
  text: string,
  addSpecialTokens = false,
): Promise<number[]> {
  return (await tokenizer.encode(text, null, { addSpecialTokens })).getIds();
}
