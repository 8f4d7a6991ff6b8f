/** Model directories for tests, made from the lab model's tokenizer. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { labModel } from '../lab_model.js';

export interface TokenizerJson {
  added_tokens: Record<string, unknown>[];
  decoder: unknown;
  model: { type: string; vocab: Record<string, unknown>; merges: string[][] };
  post_processor: unknown;
}

/** Of one test file. */
export class ModelDirectories {
  readonly #root = mkdtempSync(join(tmpdir(), 'npr-tokenizer-'));
  #count = 0;

  /** A copy of the lab model's tokenizer with files replaced (an object as JSON), null: left out. */
  make(files: Record<string, unknown>, edit: (tokenizer: TokenizerJson) => void = () => {}): string {
    const directory = join(this.#root, String(this.#count++));
    cpSync(labModel, directory, { recursive: true, filter: (path) => !path.endsWith('.safetensors') });
    const path = join(directory, 'tokenizer.json');
    const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson;
    edit(tokenizer);
    writeFileSync(path, JSON.stringify(tokenizer));
    for (const [name, content] of Object.entries(files)) {
      if (content === null) rmSync(join(directory, name));
      else
        writeFileSync(join(directory, name), typeof content === 'string' ? content : JSON.stringify(content));
    }
    return directory;
  }

  /** With tokens for two newlines, and for a colon and a newline, as large vocabularies have them. */
  merging(): string {
    return this.make({}, mergeNewlines);
  }

  /** Likewise, with `<think>` and the like as Qwen3 has them, and a template that uses them. */
  thinking(): string {
    const template = readFileSync('test/fixtures/chat/template.jinja', 'utf8');
    return this.make({ 'chat_template.jinja': template }, (tokenizer) => {
      mergeNewlines(tokenizer);
      for (const content of ['<think>', '</think>', '<tool_response>', '</tool_response>'])
        tokenizer.added_tokens.push({
          ...tokenizer.added_tokens[0],
          id: 366 + tokenizer.added_tokens.length,
          content,
          special: false,
        });
    });
  }

  remove(): void {
    rmSync(this.#root, { recursive: true });
  }
}

/** In place of the two merges that were learned last. */
function mergeNewlines({ model }: TokenizerJson): void {
  for (const [i, pair] of [
    ['Ċ', 'Ċ'],
    [':', 'Ċ'],
  ].entries()) {
    const at = model.merges.length - 1 - i;
    const old = (model.merges[at] ?? []).join('');
    model.vocab[pair.join('')] = model.vocab[old];
    delete model.vocab[old];
    model.merges[at] = pair;
  }
}
