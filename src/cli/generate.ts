/** `npr-serve generate`. */
import { text } from 'node:stream/consumers';
import { resolveSettings, type Sources } from '../config/resolve.js';
import { GenerateSettings } from '../config/settings.js';
import type { EngineEvent } from '../engine/types.js';
import { ChoiceBuilder } from '../parallel/choice.js';
import { chatRequest } from '../server/translate.js';
import { BranchView } from './branch_view.js';
import { loadModel } from './load.js';

/** Prints the answer to `prompt`, or to standard input where that is undefined. */
export async function generate(prompt: string | undefined, sources: Sources): Promise<void> {
  const settings = resolveSettings(GenerateSettings, sources);
  const content = prompt ?? (await text(process.stdin));
  const model = await loadModel(settings);
  const interrupt = new AbortController();
  process.once('SIGINT', () => interrupt.abort());
  // The reader of the pipe is gone: nothing left to do.
  process.stdout.on('error', () => interrupt.abort());
  try {
    const system =
      settings.system === undefined ? [] : [{ role: 'system' as const, content: settings.system }];
    const request = await chatRequest(
      {
        messages: [...system, { role: 'user', content }],
        parallel: settings.parallel,
        temperature: settings.temperature,
        top_p: settings.topP,
        ...(settings.maxTokens === undefined ? {} : { max_tokens: settings.maxTokens }),
        ...(settings.seed === undefined ? {} : { seed: settings.seed }),
      },
      model,
      settings,
    );
    const output = process.stdout.isTTY
      ? terminal()
      : pipe(new ChoiceBuilder(model.tokenizer.vocabulary.tags));
    await model.engine.submit(request, (events) => output.push(events), interrupt.signal);
    output.end();
    // As a shell reports a program that an interrupt ended.
    if (interrupt.signal.aborted) process.exitCode = 130;
  } finally {
    await model.engine.close();
  }
}

interface Output {
  push(events: readonly EngineEvent[]): void;
  end(): void;
}

function terminal(): Output {
  const { stdout } = process;
  return new BranchView({
    write: (text) => stdout.write(text),
    get columns() {
      return stdout.columns;
    },
    get rows() {
      return stdout.rows;
    },
  });
}

/** The flat text, as it comes. */
function pipe(builder: ChoiceBuilder): Output {
  return {
    push: (events) => {
      for (const event of events) {
        for (const delta of builder.push(event)) process.stdout.write(delta.text);
      }
    },
    end: () => {
      process.stdout.write('\n');
    },
  };
}
