/** What chat completions and completions share. */
import Type, { type Static } from 'typebox';

export const closed = { additionalProperties: false } as const;

export const ParallelOptions = Type.Object(
  {
    max_branches: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 256, description: 'Branches of one block.' }),
    ),
    max_depth: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 16, description: 'How deep blocks may nest.' }),
    ),
    max_branch_tokens: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2 ** 31 - 1,
        description: 'Tokens a branch may add; 0: no limit of its own.',
      }),
    ),
    on_invalid: Type.Optional(
      Type.Enum(['constrain', 'stop', 'ignore'], {
        description:
          'What happens to a tag that the structure does not allow: it is never sampled, ends the response, or is text.',
      }),
    ),
    branch_repetition_penalty: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        maximum: 10,
        description: "Repetition penalty over a branch's own tokens.",
      }),
    ),
  },
  closed,
);
export type ParallelOptions = Static<typeof ParallelOptions>;

const noEffect = { description: 'Accepted; has no effect.' };

/** The largest integer that survives JSON in every client. */
const safe = Number.MAX_SAFE_INTEGER;

export const sampling = {
  model: Type.Optional(
    Type.String({ description: 'The served model, as /v1/models names it; by default that one.' }),
  ),
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: 128, description: 'Samples of the prompt.' })),
  temperature: Type.Optional(
    Type.Number({ minimum: 0, maximum: 2, description: '0: greedy. By default 1.' }),
  ),
  top_p: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
  top_k: Type.Optional(Type.Integer({ minimum: -1, maximum: 2 ** 31 - 1, description: '0 or -1: off.' })),
  min_p: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  presence_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2 })),
  frequency_penalty: Type.Optional(Type.Number({ minimum: -2, maximum: 2 })),
  repetition_penalty: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 10,
      description: 'Over the prompt and the visible response; 1: off.',
    }),
  ),
  logit_bias: Type.Optional(
    Type.Record(Type.String({ pattern: '^\\d+$' }), Type.Number({ minimum: -100, maximum: 100 }), {
      ...closed,
      description: 'Token id to what is added to its logit.',
    }),
  ),
  seed: Type.Optional(
    Type.Integer({ minimum: -safe, maximum: safe, description: 'By default a random one.' }),
  ),
  stop: Type.Optional(
    Type.Union([Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }), { maxItems: 16 })], {
      description: 'Strings that end the response; matched outside of parallel blocks only.',
    }),
  ),
  stop_token_ids: Type.Optional(Type.Array(Type.Integer({ minimum: 0 }), { maxItems: 64 })),
  min_tokens: Type.Optional(
    Type.Integer({
      minimum: 0,
      description: 'Tokens before the response may end; a stop string ends it all the same.',
    }),
  ),
  ignore_eos: Type.Optional(Type.Boolean({ description: 'Go on past the end of sequence.' })),
  parallel: Type.Optional(
    Type.Union([Type.Boolean(), ParallelOptions], {
      description:
        'Whether the model may reason in parallel branches, and with which limits. By default false.',
    }),
  ),
  stream: Type.Optional(Type.Boolean()),
  stream_options: Type.Optional(
    Type.Object(
      {
        include_usage: Type.Optional(
          Type.Boolean({ description: 'A last chunk without choices carries the usage.' }),
        ),
        include_branches: Type.Optional(
          Type.Boolean({ description: 'Chunks carry what every branch adds, as it happens.' }),
        ),
        include_obfuscation: Type.Optional(Type.Boolean(noEffect)),
      },
      closed,
    ),
  ),
  return_token_ids: Type.Optional(
    Type.Boolean({ description: 'Report the token ids of prompt and response.' }),
  ),
  user: Type.Optional(Type.String(noEffect)),
  metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown(), noEffect)),
};

/** Fields of OpenAI's that are known and refused, with the reason; `[]` stands for any place in a list. */
export const refused: ReadonlyMap<string, string> = new Map(
  Object.entries({
    tools: 'this server runs no tools',
    tool_choice: 'this server runs no tools',
    functions: 'this server runs no tools',
    function_call: 'this server runs no tools',
    'messages[].tool_calls': 'this server runs no tools',
    'messages[].tool_call_id': 'this server runs no tools',
    'messages[].function_call': 'this server runs no tools',
    'messages[].annotations': 'this server searches nothing',
    web_search_options: 'this server runs no tools',
    audio: 'the model reads and writes text only',
    prediction: 'outputs are always computed from the prompt',
    reasoning_effort: 'use chat_template_kwargs, where the template has such a switch',
    verbosity: 'say in a message how long the answer should be',
    suffix: 'the model completes at the end only',
    moderation: 'this server does not moderate',
  }),
);

export const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

export const FinishReason = Type.Enum(['stop', 'length', 'invalid_structure'], {
  description: 'invalid_structure: `on_invalid` is `stop` and a tag came that the structure does not allow.',
});

export const Usage = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer({ description: 'Over all branches, forced tokens included.' }),
  total_tokens: Type.Integer(),
  prompt_tokens_details: Type.Object({ cached_tokens: Type.Integer() }),
  parallel: Type.Optional(
    Type.Object(
      {
        forced_tokens: Type.Integer({
          description: 'Tokens that the structure demanded and no sampling chose.',
        }),
        blocks: Type.Integer(),
        branches: Type.Integer(),
        critical_path_tokens: Type.Integer({
          description: 'The longest chain of tokens that had to wait for each other.',
        }),
      },
      { description: 'Where the request has `parallel`.' },
    ),
  ),
});

export const ErrorResponse = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.String(),
    param: nullable(Type.String()),
    code: Type.String(),
  }),
});

/** Beside each choice where the request has `return_token_ids`. */
export const tokenIds = {
  token_ids: Type.Optional(Type.Array(Type.Integer(), { description: 'In flat order.' })),
  token_forced: Type.Optional(
    Type.Array(Type.Boolean(), { description: 'Whether the structure, not sampling, chose the token.' }),
  ),
};

export const BranchDelta = Type.Object({
  index: Type.Integer({ description: 'Of the choice.' }),
  branch: Type.Integer({ description: 'Branches are numbered from 1 as they open.' }),
  number: Type.String({ description: "The plan's." }),
  text: Type.String(),
});

/** Of a chunk, with `stream_options.include_branches`. */
export const branchDeltas = {
  parallel: Type.Optional(
    Type.Object(
      { branch_deltas: Type.Array(BranchDelta) },
      { description: 'With stream_options.include_branches: what each branch added, as it happened.' },
    ),
  ),
};
