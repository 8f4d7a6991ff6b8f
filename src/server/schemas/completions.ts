/** Completions of texts or token ids: request, response. */
import Type, { type Static } from 'typebox';
import { branchDeltas, closed, FinishReason, nullable, sampling, tokenIds, Usage } from './common.js';

const TokenIds = Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1 });

/** Of all prompts together. More would not fit any queue; a client splits them. */
export const maxChoices = 2048;

export const CompletionRequest = Type.Object(
  {
    prompt: Type.Union(
      [
        Type.String(),
        Type.Array(Type.String(), { minItems: 1, maxItems: maxChoices }),
        TokenIds,
        Type.Array(TokenIds, { minItems: 1, maxItems: maxChoices }),
      ],
      {
        description: `Texts, in which the names of control tokens are control tokens, or token ids; with n at most ${maxChoices} choices in all.`,
      },
    ),
    ...sampling,
    max_tokens: Type.Optional(
      Type.Integer({
        minimum: 0,
        description:
          'Of each sample, over all its branches; by default what fits. 0: only the prompt, with echo.',
      }),
    ),
    logprobs: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 20, description: 'Top alternatives of each token.' }),
    ),
    echo: Type.Optional(
      Type.Boolean({ description: 'The prompt, and with logprobs its own, before the response.' }),
    ),
    best_of: Type.Optional(Type.Integer({ minimum: 1, maximum: 128, description: 'Only the value of n.' })),
  },
  closed,
);
export type CompletionRequest = Static<typeof CompletionRequest>;

const CompletionLogprobs = Type.Object({
  tokens: Type.Array(Type.String(), {
    description: 'One that is no whole characters as its bytes: `bytes:\\xf0\\x9f`; in top_logprobs, too.',
  }),
  token_logprobs: Type.Array(nullable(Type.Number()), {
    description: 'null for the first token of a prompt.',
  }),
  top_logprobs: Type.Array(nullable(Type.Record(Type.String(), Type.Number()))),
  text_offset: Type.Array(Type.Integer(), {
    description: "In UTF-16 code units, from the start of the choice's text.",
  }),
});

const Choice = {
  index: Type.Integer(),
  text: Type.String({ description: 'With parallel, in flat order, tags included.' }),
  logprobs: nullable(CompletionLogprobs),
  finish_reason: nullable(FinishReason),
  stop_reason: nullable(Type.Union([Type.String(), Type.Integer()])),
  prompt_token_ids: Type.Optional(Type.Array(Type.Integer())),
  ...tokenIds,
};

export const CompletionResponse = Type.Object({
  id: Type.String(),
  object: Type.Literal('text_completion'),
  created: Type.Integer(),
  model: Type.String(),
  choices: Type.Array(Type.Object(Choice)),
  usage: Usage,
});

export const CompletionChunk = Type.Object({
  id: Type.String(),
  object: Type.Literal('text_completion'),
  created: Type.Integer(),
  model: Type.String(),
  choices: Type.Array(Type.Object(Choice)),
  usage: Type.Optional(nullable(Usage)),
  ...branchDeltas,
});
