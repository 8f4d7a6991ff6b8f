/** How good a model is on questions that it does not learn from. */
import type { Engine } from '../engine/types.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { mean } from './advantages.js';
import type { Example } from './examples.js';
import { type ResponseFigures, responseFigures, type Scored, traces } from './figures.js';
import type { Trace } from './log/trace_files.js';
import type { Prompts } from './prompts.js';
import { seedOf } from './random.js';
import { engineRequest } from './requests.js';
import { sample } from './sample.js';
import type { Scorer } from './scoring.js';
import type { ParallelSettings, ValidationSettings } from './settings.js';

export interface ValidationParts {
  engine: Engine;
  tokenizer: Tokenizer;
  examples: readonly Example[];
  prompts: Prompts;
  score: Scorer;
  /** undefined: the sequential mode. */
  parallel: ParallelSettings | undefined;
  /** Responses to show. */
  traces: number;
}

export interface ValidationReport {
  /**
   * accuracy: the mean over all samples, avg@n; solved: questions with a right sample among theirs, pass@n; where there are
   * tasks of several families, accuracy_FAMILY, too.
   */
  metrics: ResponseFigures & Record<'solved' | `accuracy_${string}`, number>;
  traces: Trace[];
}

/** The random numbers of a question are the same at each validation, so that only the model makes a difference. */
export async function validate(
  parts: ValidationParts,
  settings: ValidationSettings,
): Promise<ValidationReport> {
  const { engine, tokenizer, examples, prompts, score, parallel } = parts;
  const groups = await Promise.all(
    examples.map(async (example, i) => {
      const request = engineRequest(await prompts.prompt(example), {
        n: settings.samples,
        maxTokens: settings.max_tokens,
        sampling: {
          temperature: settings.temperature,
          topP: settings.top_p,
          seed: seedOf('validation', i),
        },
        parallel,
      });
      const responses = await sample(engine, tokenizer.vocabulary.tags, request);
      return Promise.all(
        responses.map(
          async (response): Promise<Scored> => ({
            example,
            response,
            score: await score(example, response),
          }),
        ),
      );
    }),
  );
  return {
    metrics: {
      ...responseFigures(groups.flat()),
      ...byFamily(groups.flat()),
      solved: mean(groups.map((group) => Number(group.some(({ score }) => score.correct)))),
    },
    traces: traces(groups, parts.traces),
  };
}

function byFamily(responses: readonly Scored[]): Record<`accuracy_${string}`, number> {
  const families = new Set(responses.flatMap(({ example }) => example.task?.kind ?? []));
  if (families.size < 2) return {};
  return Object.fromEntries(
    [...families].sort().map((family) => {
      const of = responses.filter(({ example }) => example.task?.kind === family);
      return [`accuracy_${family}`, mean(of.map(({ score }) => Number(score.correct)))];
    }),
  );
}
