import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';
import { ModelDirectories, type TokenizerJson } from './models.js';

const models = new ModelDirectories();
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await Tokenizer.load(labModel);
});
afterAll(() => models.remove());

function bytesOf(id: number): string {
  const { bytes, offsets } = tokenizer.vocabulary;
  return Buffer.from(bytes.subarray(offsets[id], offsets[id + 1])).toString('latin1');
}

describe('vocabulary', () => {
  it('knows the bytes of every token', () => {
    const { bytes, offsets } = tokenizer.vocabulary;
    expect(offsets.length).toBe(378);
    expect(offsets[377]).toBe(bytes.length);
    expect(bytesOf(198)).toBe('\n');
    expect(bytesOf(220)).toBe(' ');
    expect(bytesOf(13)).toBe('.');
    expect(bytesOf(366)).toBe('<|im_end|>');
    // each of the 256 bytes is one token
    const single = new Set(
      Array.from({ length: 377 }, (_, id) => bytesOf(id)).filter((token) => token.length === 1),
    );
    expect(single.size).toBe(256);
  });

  it('knows the tokens of the format', () => {
    expect(tokenizer.vocabulary).toMatchObject({
      endTokens: [366],
      tags: {
        guideline: 369,
        guidelineEnd: 370,
        plan: 371,
        planEnd: 372,
        step: 373,
        stepEnd: 374,
        takeaway: 375,
        takeawayEnd: 376,
      },
      turnHead: [368, 336, 198],
      turnEnd: 366,
      newline: [198],
      colon: [25],
      digits: { '0': [15], '1': [16], '9': [24], '.': [13] },
    });
  });

  it('has no tags where one of the eight is missing', async () => {
    const directory = models.make({}, (json) => json.added_tokens.pop());
    expect((await Tokenizer.load(directory)).vocabulary.tags).toBeUndefined();
  });

  it('has no turns in a model of another chat format', async () => {
    const directory = models.make({ 'config.json': {} }, (json) => {
      for (const token of json.added_tokens) if (token.content === '<|im_start|>') token.content = '<s>';
    });
    expect((await Tokenizer.load(directory)).vocabulary).toMatchObject({ turnHead: [], turnEnd: -1 });
  });

  it('takes the end tokens from whichever file says them first', async () => {
    const end = async (files: Record<string, unknown>) =>
      (await Tokenizer.load(models.make(files))).vocabulary.endTokens;
    expect(await end({ 'generation_config.json': { eos_token_id: [366, 367] } })).toEqual([366, 367]);
    expect(await end({ 'generation_config.json': {}, 'config.json': { eos_token_id: 5 } })).toEqual([5]);
    expect(await end({ 'generation_config.json': null, 'config.json': null })).toEqual([366]);
  });
});

describe('encode and decode', () => {
  const TEXTS = [
    '',
    ' a\n\nb:\n12',
    '<step>\n1: <|im_end|>',
    'naïve 数学 🙂\u0000',
    '<|im_start|>assistant\n',
  ];

  it('are inverses', async () => {
    for (const text of TEXTS) {
      expect(tokenizer.decode(await tokenizer.encode(text))).toBe(text);
      expect(tokenizer.decode(await tokenizer.encodePlain(text))).toBe(text);
    }
  });

  it('recognise control tokens in a raw prompt only', async () => {
    expect(await tokenizer.encode('<step>\n')).toEqual([373, 198]);
    const plain = await tokenizer.encodePlain('<step>\n<|im_end|><|im_start|>');
    expect(plain.every((id) => id < 366)).toBe(true);
  });

  it('give U+FFFD for bytes that are no UTF-8, and nothing for unknown ids', () => {
    const [high] = Array.from({ length: 256 }, (_, id) => id).filter((id) => bytesOf(id) === '\xf0');
    expect(tokenizer.decode([64, high as number, 999, -1, 65])).toBe('a\ufffdb');
  });

  it('add what the post-processor adds to raw prompts alone', async () => {
    const directory = models.make({}, (json) => {
      json.post_processor = {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '<|endoftext|>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
        ],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: { '<|endoftext|>': { id: '<|endoftext|>', ids: [367], tokens: ['<|endoftext|>'] } },
      };
    });
    const other = await Tokenizer.load(directory);
    expect(await other.encode('a')).toEqual([367, 64]);
    expect(await other.encodePlain('a')).toEqual([64]);
    expect(await other.encodeTurns('a')).toEqual([64]);
  });

  it('never reach a token of the vocabulary that is spelled like an added one', async () => {
    const directory = models.make({}, (json) => {
      json.model.vocab['<|im_end|>'] = 366;
    });
    const other = await Tokenizer.load(directory);
    expect(await other.encodePlain('<|im_end|>')).toEqual(await tokenizer.encodePlain('<|im_end|>'));
  });
});

describe('encodeTurns', () => {
  it('gives the tokens that an engine generated, forced ones included', async () => {
    const traces: { prompt_tokens: number[]; tokens: number[]; text: string }[] = JSON.parse(
      readFileSync('test/fixtures/npr-lab/greedy.json', 'utf8'),
    );
    expect(traces.length).toBe(45);
    for (const { prompt_tokens, tokens, text } of traces) {
      const prompt = tokenizer.decode(prompt_tokens);
      expect(await tokenizer.encodeTurns(prompt + text)).toEqual([...prompt_tokens, ...tokens]);
    }
  });

  let merging: Tokenizer;
  beforeAll(async () => {
    merging = await Tokenizer.load(models.merging());
  });
  const HEAD = '<|im_start|>assistant\n';
  const GUIDELINE = '<guideline><plan>12.3: a</plan></guideline>\n';
  const ids = async (pieces: string[]) =>
    (await Promise.all(pieces.map((piece) => merging.encode(piece)))).flat();

  it('keeps forced pieces apart from what follows them', async () => {
    expect((await merging.encode(':\n\n')).length).toBe(2);
    // a tokenizer would merge `:\n` and the two newlines after <takeaway>
    const text = `${HEAD}${GUIDELINE}<step>\n12.3:\nx</step>\n<takeaway>\n\nb</takeaway>\n\nend`;
    const pieces = [
      HEAD,
      GUIDELINE,
      '<step>',
      '\n',
      '1',
      '2',
      '.',
      '3',
      ':',
      '\nx',
      '</step>',
      '\n',
      '<takeaway>',
    ];
    pieces.push('\n', '\nb', '</takeaway>', '\n\nend');
    expect(await merging.encodeTurns(text)).toEqual(await ids(pieces));
    expect(await merging.encodeTurns(text)).not.toEqual(await merging.encode(text));
  });

  it('leaves whole what no engine forced', async () => {
    const texts = [
      `${HEAD}${GUIDELINE}<step>\n4:\nx</step>`, // not the plan's number
      `<|im_start|>user\n${GUIDELINE}<step>\n12.3:\nx</step>`, // not the assistant
      `${HEAD}</plan>${GUIDELINE}<step>\n12.3:\nx</step>`, // no block
      `${HEAD}a<|im_end|>${GUIDELINE}<step>\n12.3:\nx</step>`, // after the turn
    ];
    for (const text of texts) expect(await merging.encodeTurns(text)).toEqual(await merging.encode(text));
  });
});

describe('load', () => {
  const tokenizerFaults: [string, (json: TokenizerJson) => void, RegExp][] = [
    [
      'another decoder',
      (json) => {
        json.decoder = { type: 'Metaspace' };
      },
      /tokenizer\.json: expected a decoder of type ByteLevel, found Metaspace/,
    ],
    [
      'no decoder',
      (json) => {
        json.decoder = null;
      },
      /ByteLevel, found none/,
    ],
    [
      'another model',
      (json) => {
        json.model.type = 'Unigram';
      },
      /expected a model of type BPE/,
    ],
    [
      'a vocabulary that lies',
      (json) => {
        json.model.vocab.a = 'x';
      },
      /the id of "a" is x/,
    ],
    [
      'an added token without content',
      (json) => {
        json.added_tokens[1] = { id: 3 };
      },
      /added_tokens\[1\] has no id/,
    ],
    [
      'an added token that strips',
      (json) => {
        Object.assign(json.added_tokens[0] ?? {}, { lstrip: true });
      },
      /added_tokens\[0\] \(<\|im_end\|>\) uses lstrip/,
    ],
    [
      'an id beyond the model',
      (json) => {
        json.model.vocab.zz = 512;
      },
      /token id 512, beyond the vocab_size 512/,
    ],
    [
      'an added token with an id out of order',
      (json) => {
        Object.assign(json.added_tokens[3] ?? {}, { id: 380 });
      },
      /the added token <guideline> has the id 380, not 369/,
    ],
    [
      'merges of unknown tokens',
      (json) => {
        delete json.model.vocab.an;
      },
      /tokenizer\.json: /,
    ],
  ];
  it.each(tokenizerFaults)('refuses %s', async (_, edit, message) => {
    await expect(Tokenizer.load(models.make({}, edit))).rejects.toThrow(message);
  });

  const fileFaults: [string, Record<string, unknown>, RegExp][] = [
    ['no tokenizer.json', { 'tokenizer.json': null }, /tokenizer\.json: no such file/],
    ['tokenizer.json that is no JSON', { 'tokenizer.json': '{' }, /tokenizer\.json: not JSON/],
    ['tokenizer.json that is a list', { 'tokenizer.json': [] }, /tokenizer\.json: expected a JSON object/],
    [
      'end tokens that are none',
      { 'generation_config.json': { eos_token_id: 'x' } },
      /generation_config\.json: .*found "x"/,
    ],
    ['a template that does not compile', { 'chat_template.jinja': '{% if %}' }, /the chat template: /],
    [
      'templates without a default',
      {
        'chat_template.jinja': null,
        'tokenizer_config.json': { chat_template: [{ name: 'rag', template: '' }] },
      },
      /tokenizer_config\.json: expected chat_template/,
    ],
  ];
  it.each(fileFaults)('refuses %s', async (_, files, message) => {
    await expect(Tokenizer.load(models.make(files))).rejects.toThrow(message);
  });
});
