/** A tokenizer for random weights: bytes, then made-up words up to the vocabulary's size. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Completes a model directory, so that it can be served. */
export function writeMadeUpTokenizer(directory: string): void {
  const path = join(directory, 'tokenizer.json');
  if (existsSync(path)) return;
  const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as { vocab_size: number };
  const vocab = Object.fromEntries(Array.from({ length: config.vocab_size }, (_, id) => [token(id), id]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  const tokenizer = {
    added_tokens: [],
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: 'BPE', vocab, merges: [] },
  };
  writeFileSync(
    join(directory, 'chat_template.jinja'),
    '{% for message in messages %}{{ message.content }}{% endfor %}',
  );
  writeFileSync(path, JSON.stringify(tokenizer));
}

/** As byte-level vocabularies spell it: the printable bytes of Latin-1 as themselves, a space as U+0120. */
function token(id: number): string {
  if (id < bytes.length) return bytes[id] as string;
  let word = '';
  for (let rest = id; rest > 0; rest = Math.floor(rest / 26)) {
    word = String.fromCharCode(97 + (rest % 26)) + word;
  }
  return `\u0120${word}`;
}

const printable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
const all = Array.from({ length: 256 }, (_, byte) => byte);
const bytes = [
  ...all.filter(printable).map((byte) => String.fromCharCode(byte)),
  ...all.filter((byte) => !printable(byte)).map((_, i) => String.fromCharCode(0x100 + i)),
];
