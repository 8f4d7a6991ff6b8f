/** Chat completions: request, response, chunk. */
import Type, { type Static } from 'typebox';
import { branchDeltas, closed, FinishReason, nullable, sampling, tokenIds, Usage } from './common.js';

const TextPart = Type.Object({ type: Type.Literal('text'), text: Type.String() }, closed);

const Plan = Type.Object({ number: Type.Optional(Type.String()), text: Type.String() }, closed);

const BranchEnd = Type.Enum(['step_end', 'stop', 'length', 'invalid_structure']);

/**
 * An ordered list of texts and blocks whose concatenation is the message. Of a block, `text` is enough, and so are
 * `plans`, `branches` and `takeaway`.
 */
export const Segments = Type.Cyclic(
  {
    Segments: Type.Array(Type.Union([Type.Ref('Text'), Type.Ref('Block')])),
    Text: Type.Object({ type: Type.Literal('text'), text: Type.String() }, closed),
    Block: Type.Object(
      {
        type: Type.Literal('block'),
        text: Type.Optional(Type.String()),
        plans: Type.Optional(Type.Array(Plan)),
        branches: Type.Optional(Type.Array(Type.Ref('Branch'))),
        takeaway: Type.Optional(nullable(Type.String())),
      },
      closed,
    ),
    Branch: Type.Object(
      {
        number: Type.Optional(Type.String()),
        text: Type.Optional(Type.String()),
        segments: Type.Optional(Type.Ref('Segments')),
        tokens: Type.Optional(Type.Integer({ minimum: 0 })),
        finish_reason: Type.Optional(BranchEnd),
      },
      closed,
    ),
  },
  'Segments',
);

/** Messages of other servers come back with such. */
const none = Type.Optional(
  Type.Array(Type.Unknown(), {
    maxItems: 0,
    description: 'Of assistant messages: empty, and without effect.',
  }),
);

export const Message = Type.Object(
  {
    role: Type.Enum(['system', 'developer', 'user', 'assistant']),
    content: Type.Optional(
      Type.Union([Type.String(), Type.Array(TextPart)], {
        description: 'Required but in assistant messages.',
      }),
    ),
    name: Type.Optional(Type.String({ description: 'Accepted; has no effect.' })),
    reasoning_content: Type.Optional(
      Type.String({ description: 'Of assistant messages: the blocks, in front of the content.' }),
    ),
    parallel: Type.Optional(
      Type.Object(
        { segments: Segments },
        {
          ...closed,
          description: 'Of assistant messages: the whole text, in place of content and reasoning_content.',
        },
      ),
    ),
    tool_calls: none,
    annotations: none,
  },
  closed,
);
export type Message = Static<typeof Message>;

const noEffect = { description: 'Accepted; has no effect.' };

export const ChatRequest = Type.Object(
  {
    messages: Type.Array(Message, { minItems: 1 }),
    ...sampling,
    max_tokens: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'Of each sample, over all its branches; by default what fits.',
      }),
    ),
    max_completion_tokens: Type.Optional(
      Type.Integer({ minimum: 1, description: 'The same as max_tokens.' }),
    ),
    logprobs: Type.Optional(Type.Boolean()),
    top_logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: 20, description: 'Requires logprobs.' })),
    chat_template_kwargs: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: 'More variables for the chat template.' }),
    ),
    response_format: Type.Optional(Type.Object({ type: Type.Literal('text') }, closed)),
    modalities: Type.Optional(Type.Array(Type.Literal('text'), { minItems: 1, maxItems: 1 })),
    store: Type.Optional(Type.Literal(false, noEffect)),
    service_tier: Type.Optional(Type.Enum(['auto', 'default'], noEffect)),
    parallel_tool_calls: Type.Optional(Type.Boolean(noEffect)),
    safety_identifier: Type.Optional(Type.String(noEffect)),
    prompt_cache_key: Type.Optional(Type.String(noEffect)),
    prompt_cache_retention: Type.Optional(Type.String(noEffect)),
    prompt_cache_options: Type.Optional(Type.Record(Type.String(), Type.Unknown(), noEffect)),
  },
  closed,
);
export type ChatRequest = Static<typeof ChatRequest>;

const TopLogprob = { token: Type.String(), logprob: Type.Number(), bytes: Type.Array(Type.Integer()) };

const ChatLogprobs = Type.Object({
  content: Type.Array(
    Type.Object({
      ...TopLogprob,
      top_logprobs: Type.Array(Type.Object(TopLogprob)),
      forced: Type.Optional(
        Type.Literal(true, { description: 'The structure, not sampling, chose the token.' }),
      ),
    }),
    { description: 'Every token of the response in flat order, reasoning included.' },
  ),
  refusal: Type.Null(),
});

const AssistantMessage = Type.Object({
  role: Type.Literal('assistant'),
  content: nullable(Type.String({ description: 'The text outside of blocks.' })),
  refusal: Type.Null(),
  reasoning_content: Type.Optional(Type.String({ description: 'The blocks in flat order, tags included.' })),
  parallel: Type.Optional(Type.Object({ segments: Segments })),
});

const StopReason = nullable(Type.Union([Type.String(), Type.Integer()]));

export const ChatResponse = Type.Object({
  id: Type.String(),
  object: Type.Literal('chat.completion'),
  created: Type.Integer(),
  model: Type.String(),
  choices: Type.Array(
    Type.Object({
      index: Type.Integer(),
      message: AssistantMessage,
      logprobs: nullable(ChatLogprobs),
      finish_reason: FinishReason,
      stop_reason: StopReason,
      ...tokenIds,
    }),
  ),
  usage: Usage,
  prompt_token_ids: Type.Optional(Type.Array(Type.Integer())),
});

export const ChatChunk = Type.Object({
  id: Type.String(),
  object: Type.Literal('chat.completion.chunk'),
  created: Type.Integer(),
  model: Type.String(),
  choices: Type.Array(
    Type.Object({
      index: Type.Integer(),
      delta: Type.Object({
        role: Type.Optional(Type.Literal('assistant')),
        content: Type.Optional(Type.String()),
        reasoning_content: Type.Optional(Type.String()),
      }),
      logprobs: nullable(ChatLogprobs),
      finish_reason: nullable(FinishReason),
      stop_reason: Type.Optional(StopReason),
      ...tokenIds,
    }),
  ),
  usage: Type.Optional(nullable(Usage)),
  prompt_token_ids: Type.Optional(Type.Array(Type.Integer())),
  ...branchDeltas,
});
