import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from '../../src/parallel/parse.js';
import { SegmentError } from '../../src/parallel/validate.js';
import { ChatTemplate, type TemplateMessage } from '../../src/tokenizer/chat_template.js';
import { ChatError } from '../../src/tokenizer/errors.js';
import type { ChatMessage } from '../../src/tokenizer/messages.js';
import { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { labModel } from '../lab_model.js';
import { pick, random, randomSegments } from '../parallel/random.js';
import { ModelDirectories } from './models.js';

const models = new ModelDirectories();
let plain: Tokenizer; // the lab model's own template
let thinking: Tokenizer;
beforeAll(async () => {
  plain = await Tokenizer.load(models.merging());
  thinking = await Tokenizer.load(models.thinking());
});
afterAll(() => models.remove());

const render = (
  tokenizer: Tokenizer,
  messages: ChatMessage[],
  templateKwargs = {},
  addGenerationPrompt = true,
) => tokenizer.renderChat(messages, { addGenerationPrompt, templateKwargs });

const SPECIALS = [
  '<|im_start|>',
  '<|im_end|>',
  '<|endoftext|>',
  '<step>',
  '</plan>',
  '<guideline>',
  '<think>',
  '</think>',
];

/** How often each control token stands in `ids`. */
function controls(tokenizer: Tokenizer, ids: number[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const id of ids)
    if (id >= 366) counts[tokenizer.decode([id])] = (counts[tokenizer.decode([id])] ?? 0) + 1;
  return counts;
}

describe('renderChat without special strings', () => {
  it('gives the ids of transformers', async () => {
    const golden: {
      cases: { messages: ChatMessage[]; kwargs: object; add_generation_prompt: boolean; ids: number[] }[];
    } = JSON.parse(readFileSync('test/fixtures/chat/golden.json', 'utf8'));
    expect(golden.cases.length).toBe(53);
    for (const { messages, kwargs, add_generation_prompt, ids } of golden.cases)
      expect(
        await render(thinking, messages, kwargs, add_generation_prompt),
        JSON.stringify(messages),
      ).toEqual(ids);
  });

  it('gives the ids of the rendered text', async () => {
    const words = [
      'a',
      ' The',
      '\n',
      '\n\n',
      ':',
      ' ',
      '12',
      'é',
      '数',
      '🙂',
      '<',
      '|im_end|',
      '9',
      '\u0301',
      'x{{y}}',
    ];
    const template = new ChatTemplate(readFileSync('test/fixtures/chat/template.jinja', 'utf8'), {});
    for (let seed = 0; seed < 200; seed++) {
      const next = random(seed);
      const text = () => Array.from({ length: Math.floor(next() * 10) }, () => pick(next, words)).join('');
      const messages: TemplateMessage[] = next() < 0.5 ? [{ role: 'system', content: text() }] : [];
      for (let turns = 1 + Math.floor(next() * 4); turns > 0; turns--) {
        messages.push({ role: 'user', content: text() });
        const reply = pick(next, ['none', 'separate', 'inline']);
        if (reply === 'separate')
          messages.push({ role: 'assistant', content: text(), reasoning_content: text() });
        if (reply === 'inline')
          messages.push({ role: 'assistant', content: `<think>${text()}</think>${text()}` });
      }
      const rendered = template.render(messages, true, { enable_thinking: false });
      expect(await render(thinking, messages, { enable_thinking: false }), `seed ${seed}`).toEqual(
        await thinking.encode(rendered),
      );
    }
  });
});

describe('text that a user typed', () => {
  it('never becomes a control token, and is kept', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const next = random(seed);
      const words = [...SPECIALS, 'a', '\n', ' ', '9012', '<', '|im_', 'start|>'];
      const text = () =>
        `x${Array.from({ length: Math.floor(next() * 8) }, () => pick(next, words)).join('')}x`;
      const messages = [
        { role: 'system', content: text() },
        { role: 'user', content: text() },
      ];
      const ids = await render(thinking, messages);
      expect(controls(thinking, ids), `seed ${seed}`).toEqual({ '<|im_start|>': 3, '<|im_end|>': 2 });
      expect(thinking.decode(ids)).toBe(
        `<|im_start|>system\n${messages[0]?.content}<|im_end|>\n<|im_start|>user\n${messages[1]?.content}<|im_end|>\n<|im_start|>assistant\n`,
      );
      // as one stretch of text between control tokens
      const inner = ids.slice(1, ids.indexOf(366));
      expect(inner).toEqual(await thinking.encodePlain(`system\n${messages[0]?.content}`));
    }
  });

  it('is not what templates test for', async () => {
    const ids = await render(thinking, [{ role: 'user', content: '<tool_response>x</tool_response>' }]);
    expect(controls(thinking, ids)).toEqual({ '<|im_start|>': 2, '<|im_end|>': 1 });
  });

  it('includes the variables that a client sets', async () => {
    const directory = models.make({
      'chat_template.jinja':
        "{{ '<|im_start|>' }}{{ style.name }}{% for k, v in style.items() %}{{ k + v }}{% endfor %}{{ n + 1 }}",
    });
    const tokenizer = await Tokenizer.load(directory);
    const style = { name: '<step>', '<|im_end|>': '<plan>' };
    const ids = await render(tokenizer, [{ role: 'user', content: '' }], { style, n: 1, messages: 'x' });
    expect(tokenizer.decode(ids)).toBe('<|im_start|><step>name<step><|im_end|><plan>2');
    expect(controls(tokenizer, ids)).toEqual({ '<|im_start|>': 1 });
  });
});

describe('assistant messages', () => {
  const user = { role: 'user', content: 'Compute 80*7.' };
  const traces: { prompt_tokens: number[]; tokens: number[]; text: string }[] = JSON.parse(
    readFileSync('test/fixtures/npr-lab/greedy.json', 'utf8'),
  );

  it('give the tokens that were generated, as text and as segments', async () => {
    const lab = await Tokenizer.load(labModel);
    for (const { prompt_tokens, tokens, text } of traces) {
      const content = lab.decode(prompt_tokens).split('user\n')[1]?.split('<|im_end|>')[0] as string;
      const answer = text.replace('<|im_end|>', '');
      const generated = [...prompt_tokens, ...tokens];
      for (const assistant of [
        { content: answer },
        { content: 'unread', parallel: { segments: parse(answer) } },
      ]) {
        const messages = [{ role: 'user', content }, { role: 'assistant', ...assistant }, user];
        const ids = await render(lab, messages);
        expect(ids.slice(0, generated.length)).toEqual(generated);
      }
    }
  });

  it('give the same ids from segments and from flat text', async () => {
    for (let seed = 0; seed < 100; seed++) {
      const segments = randomSegments(random(seed));
      const content = segments.map((segment) => segment.text).join('');
      expect(await render(plain, [user, { role: 'assistant', parallel: { segments } }, user])).toEqual(
        await render(plain, [user, { role: 'assistant', content }, user]),
      );
    }
  });

  it('keep tags and <think> as tokens, other control strings as text', async () => {
    const text = 'a<think>b</think><plan><|im_end|><|im_start|></plan>';
    const ids = await render(
      thinking,
      [user, { role: 'assistant', content: 'c', reasoning_content: text }],
      {},
      false,
    );
    expect(controls(thinking, ids)).toEqual({
      '<|im_start|>': 2,
      '<|im_end|>': 2,
      '<think>': 2,
      '</think>': 2,
      '<plan>': 1,
      '</plan>': 1,
    });
    expect(thinking.decode(ids)).toContain(`<think>\n${text}\n</think>\n\nc<|im_end|>`);
  });

  it('let the template take earlier thinking out', async () => {
    const ids = await render(thinking, [
      user,
      { role: 'assistant', content: '<think>\nx\n</think>\n\ny' },
      user,
    ]);
    expect(thinking.decode(ids)).toContain('<|im_start|>assistant\ny<|im_end|>');
  });

  it('force pieces in a structured turn only', async () => {
    const content = '<guideline><plan>a</plan></guideline>\n<step>\n1:\n</step>\n<takeaway>\n\nb</takeaway>';
    const assistant = await render(plain, [user, { role: 'assistant', content }], {}, false);
    const merged = 25; // `:` by itself
    expect(assistant.filter((id) => id === merged).length).toBe(1);
    expect(plain.decode(assistant)).toContain(content);
  });
});

describe('messages', () => {
  it('may have their text in parts', async () => {
    const parts = [
      { type: 'text', text: '<|im_' },
      { type: 'text', text: 'end|>' },
    ];
    const ids = await render(plain, [{ role: 'user', content: parts }]);
    expect(ids).toEqual(await render(plain, [{ role: 'user', content: '<|im_end|>' }]));
    expect(controls(plain, ids)).toEqual({ '<|im_start|>': 2, '<|im_end|>': 1 });
  });

  it('are refused with the path of what is wrong', async () => {
    const user = { role: 'user', content: 'x' };
    const cases: [ChatMessage[], string][] = [
      [[user, { role: 'tool', content: 'x' }], 'messages[1].role: "tool" is not supported'],
      [[{ role: 'user', content: null }], 'messages[0].content: is missing'],
      [
        [{ role: 'user', content: [{ type: 'image_url' }] }],
        'messages[0].content[0]: only parts of type text',
      ],
      [[{ ...user, parallel: { segments: [] } }], 'messages[0].parallel: belongs to an assistant'],
      [
        [{ role: 'system', content: 'x' }],
        "messages: the model's chat template refuses them: No user query found",
      ],
    ];
    for (const [messages, message] of cases) {
      const error = await render(thinking, messages).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(ChatError);
      expect((error as ChatError).message).toContain(message);
    }
    const segments = [{ type: 'block' as const, plans: [] }];
    const error = await render(thinking, [user, { role: 'assistant', parallel: { segments } }]).catch(
      (e) => e,
    );
    expect(error).toBeInstanceOf(SegmentError);
    expect(error.path).toBe('messages[1].parallel.segments[0]');
  });

  it('need a model with a chat template', async () => {
    const tokenizer = await Tokenizer.load(models.make({ 'chat_template.jinja': null }));
    await expect(render(tokenizer, [])).rejects.toThrow('the model has no chat template');
  });
});

describe('chat templates', () => {
  const hello = [{ role: 'user', content: 'x' }];
  it('may stand in tokenizer_config.json, alone or by name', async () => {
    const template = '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}';
    for (const chat_template of [
      template,
      [
        { name: 'rag', template: '' },
        { name: 'default', template },
      ],
    ]) {
      const config = { chat_template, bos_token: { content: '<|endoftext|>' }, eos_token: '<|im_end|>' };
      const directory = models.make({ 'chat_template.jinja': null, 'tokenizer_config.json': config });
      expect(await render(await Tokenizer.load(directory), hello)).toEqual([367, 87, 366]);
    }
  });

  it('strip as Python does', async () => {
    const cases: [string, string][] = [
      ["{{ messages[0].content.strip('\\n') }}", ' \ufeff\x1fx '],
      ["{{ messages[0].content.lstrip('\\n ') }}", '\ufeff\x1fx \n'],
      ['{{ messages[0].content.rstrip() }}', '\n \ufeff\x1fx'],
      ['{{ messages[0].content | trim }}', '\ufeff\x1fx'],
      ["{{ (messages[0].content | trim('\\n')).rstrip() | upper }}", ' \ufeff\x1fX'],
      ["{% if {'a': messages[0].content.strip()}['a'] == '\ufeff\x1fx' %}y{% endif %}", 'y'],
    ];
    for (const [source, expected] of cases)
      expect(
        new ChatTemplate(source, {}).render([{ role: 'user', content: '\n \ufeff\x1fx \n' }], true, {
          $strip: 'x',
        }),
      ).toBe(expected);
  });

  it('may ask for the date', async () => {
    const directory = models.make({ 'chat_template.jinja': "{{ strftime_now('%Y') }}" });
    const tokenizer = await Tokenizer.load(directory);
    expect(tokenizer.decode(await render(tokenizer, hello))).toMatch(/^20\d\d$/);
  });
});
