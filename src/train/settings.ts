/**
 * The settings of a training run: one JSON file, whose keys are these, whose checks and defaults are derived from here. A
 * stage takes the paper's values where its own are not given. A `format` of path or bytes says how a value is written.
 */
import Type, { type Static, type TObject, type TSchema } from 'typebox';
import { Clone } from 'typebox/value';
import { EngineSettings, kvBytes } from '../config/settings.js';

const closed = { additionalProperties: false } as const;

export const STAGES = ['base', 'zero', 'beta', 'papo'] as const;
export type StageName = (typeof STAGES)[number];

const path = (description: string) => Type.String({ format: 'path', minLength: 1, description });
const count = (description: string, value: number, minimum = 1) =>
  Type.Integer({ minimum, maximum: 2 ** 31 - 1, default: value, description });
const object = <T extends Record<string, TSchema>>(properties: T, description: string) =>
  Type.Object(properties, { ...closed, description });
/** An object that is there with its members' defaults even if the file has none. */
const section = <T extends Record<string, TSchema>>(properties: T, description: string) =>
  Type.Object(properties, { ...closed, description, default: {} });

/** What a stage may say otherwise than the run: any of the members, none by default. */
function partial<T extends TObject>(schema: T) {
  const { default: _, ...rest } = Clone(Type.Partial(schema)) as unknown as Record<string, unknown>;
  for (const property of Object.values(rest.properties as Record<string, { default?: unknown }>))
    delete property.default;
  return rest as unknown as ReturnType<typeof Type.Partial<T>>;
}

const Start = Type.String({
  format: 'start',
  minLength: 1,
  description: "whose weights to start from: a stage's name, 'model', or the path of a checkpoint",
});

const System = Type.String({ description: 'system message of every prompt that has none of its own' });

export const DataSettings = object(
  {
    files: Type.Optional(
      Type.Array(
        object(
          {
            path: path('a JSONL, JSON or Parquet file'),
            columns: Type.Optional(
              object(
                {
                  question: Type.Optional(Type.String({ minLength: 1 })),
                  answer: Type.Optional(Type.String({ minLength: 1 })),
                  system: Type.Optional(Type.String({ minLength: 1 })),
                  response: Type.Optional(Type.String({ minLength: 1 })),
                },
                'what the columns are called in the file, where that is not their name here',
              ),
            ),
          },
          'a file of examples',
        ),
        { minItems: 1 },
      ),
    ),
    tasks: Type.Optional(
      object(
        {
          families: Type.Array(Type.String({ minLength: 1 }), {
            minItems: 1,
            description: 'each as often as it stands here',
          }),
          difficulty: Type.Array(Type.Integer({ minimum: 1, maximum: 100 }), {
            minItems: 2,
            maxItems: 2,
            default: [1, 1],
            description: 'the easiest and the hardest',
          }),
          difficulties: Type.Optional(
            Type.Record(
              Type.String(),
              Type.Array(Type.Integer({ minimum: 1, maximum: 100 }), { minItems: 2, maxItems: 2 }),
              { description: 'the same, of families that have others' },
            ),
          ),
          count: count('tasks to make', 1000),
          seed: Type.Optional(
            Type.Integer({
              minimum: 0,
              description: "by default the run's for training, and one for all runs for validation",
            }),
          ),
        },
        'procedural tasks, in place of files',
      ),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, description: 'most examples to use' })),
  },
  'examples: either files or tasks',
);
export type DataSettings = Static<typeof DataSettings>;

export const ValidationSettings = object(
  {
    data: DataSettings,
    every: count('steps from one validation to the next; 0: only at the start and the end of a stage', 10, 0),
    samples: count('responses to each question', 8),
    temperature: Type.Number({ minimum: 0, maximum: 2, default: 1 }),
    top_p: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 0.7 }),
    max_tokens: count('tokens of a response', 30000),
  },
  'held-out questions: those of the training data that are among them are left out of training',
);
export type ValidationSettings = Static<typeof ValidationSettings>;

const CheckpointSettings = section(
  {
    every: count('steps from one checkpoint to the next', 20),
    keep: count('last checkpoints to keep, beside the best one', 2),
    metric: Type.Enum(['accuracy', 'valid', 'reward'], {
      default: 'accuracy',
      description: 'of validation, the best is the highest',
    }),
    result: Type.Enum(['last', 'best'], { default: 'last', description: "which one is the stage's model" }),
  },
  'what is kept while a stage runs',
);

const ParallelSettings = section(
  {
    max_branches: Type.Integer({ minimum: 1, maximum: 256, default: 5 }),
    max_depth: Type.Integer({ minimum: 1, maximum: 16, default: 5 }),
    max_branch_tokens: count('tokens a branch may add; 0: no limit of its own', 0, 0),
    on_invalid: Type.Enum(['constrain', 'stop', 'ignore'], { default: 'stop' }),
    branch_repetition_penalty: Type.Number({ exclusiveMinimum: 0, maximum: 10, default: 1.02 }),
  },
  'branches, in the rollouts of papo and the validation of beta and papo',
);

/** What all stages have. */
interface Paper {
  lr: number;
  final_lr: number;
  kind: 'constant' | 'cosine';
  warmup_steps: number;
  beta2: number;
}

function optimisation(paper: Paper) {
  return {
    from: Type.Optional(Start),
    system: Type.Optional(System),
    data: Type.Optional(DataSettings),
    lr: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: paper.lr }),
    schedule: section(
      {
        kind: Type.Enum(['constant', 'cosine'], { default: paper.kind }),
        warmup_steps: Type.Number({
          minimum: 0,
          default: paper.warmup_steps,
          description: 'steps of linear warm-up; below 1: their share of all steps',
        }),
        final_lr: Type.Number({
          minimum: 0,
          maximum: 1,
          default: paper.final_lr,
          description: 'where cosine ends',
        }),
      },
      'the learning rate over the steps',
    ),
    optimizer: section(
      {
        beta1: Type.Number({ minimum: 0, maximum: 0.999999, default: 0.9 }),
        beta2: Type.Number({ minimum: 0, maximum: 0.999999, default: paper.beta2 }),
        epsilon: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 1e-8 }),
        weight_decay: Type.Number({ minimum: 0, maximum: 10, default: 0.1 }),
        clip_norm: Type.Number({ minimum: 0, default: 1, description: 'of the whole gradient; 0: none' }),
      },
      "AdamW's",
    ),
    micro_batch_tokens: count('rows of one forward and backward', 8192),
    recompute: Type.Enum(['none', 'mlp', 'layer'], { default: 'none' }),
    lora: Type.Optional(
      object(
        {
          rank: count('of the update', 16),
          alpha: Type.Number({ exclusiveMinimum: 0, default: 32, description: 'scaled by alpha / rank' }),
          targets: Type.Array(Type.Enum(['q', 'k', 'v', 'o', 'gate', 'up', 'down']), {
            minItems: 1,
            default: ['q', 'k', 'v', 'o', 'gate', 'up', 'down'],
          }),
        },
        'train an update of low rank in place of all weights',
      ),
    ),
    validation: Type.Optional(partial(ValidationSettings)),
    checkpoints: Type.Optional(partial(CheckpointSettings)),
  };
}

/** Supervised: base, beta. */
function supervised(paper: Paper & { batch_size: number }) {
  return {
    ...optimisation(paper),
    batch_size: count('responses in one step', paper.batch_size),
    epochs: Type.Number({ exclusiveMinimum: 0, default: 1 }),
    steps: Type.Optional(Type.Integer({ minimum: 1, description: 'in place of epochs' })),
    max_length: count('tokens of prompt and response; longer ones are left out', 32768),
  };
}

/** Reinforcement: zero, papo. */
function reinforcement(paper: Paper & { prompts: number; resample: boolean; overlong: boolean }) {
  return {
    ...optimisation(paper),
    steps: count('batches of rollouts', 200),
    prompts: count('questions in a batch', paper.prompts),
    samples: count('responses to each question, its group', 16, 2),
    sampling: section(
      {
        temperature: Type.Number({ exclusiveMinimum: 0, maximum: 2, default: 1 }),
        top_p: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 1 }),
        top_k: count('0: off', 0, 0),
        min_p: Type.Number({ minimum: 0, maximum: 1, default: 0 }),
        repetition_penalty: Type.Number({ exclusiveMinimum: 0, maximum: 10, default: 1 }),
        presence_penalty: Type.Number({ minimum: -2, maximum: 2, default: 0 }),
        frequency_penalty: Type.Number({ minimum: -2, maximum: 2, default: 0 }),
        max_tokens: count('tokens of a response, over all its branches', 30000),
      },
      'of the rollouts',
    ),
    dynamic_sampling: section(
      {
        enabled: Type.Boolean({
          default: paper.resample,
          description: 'drop groups whose scores are all equal, and sample others in their place',
        }),
        limit: Type.Integer({
          minimum: 1,
          maximum: 1000,
          default: 10,
          description: 'groups that one step may sample, in batches; 1: none in the place of those dropped',
        }),
      },
      'groups without signal',
    ),
    max_uniform_steps: count('steps in a row without any signal that end the stage', 10),
    overlong: Type.Optional(
      Type.Object(
        {
          buffer: count('tokens before the limit over which the penalty grows', 10),
          factor: Type.Number({
            minimum: 0,
            maximum: 100,
            default: 1,
            description: 'the penalty at the limit',
          }),
        },
        {
          ...closed,
          description: 'soft penalty near max_tokens',
          ...(paper.overlong ? { default: {} } : {}),
        },
      ),
    ),
    reward: Type.Optional(
      path("a module whose default export scores a response, in place of the stage's own"),
    ),
  };
}

const BaseStage = object(
  {
    ...supervised({
      lr: 3e-4,
      final_lr: 3e-5,
      kind: 'cosine',
      warmup_steps: 0.05,
      beta2: 0.95,
      batch_size: 64,
    }),
    texts: Type.Array(
      object(
        {
          kind: Type.Enum(['sequential', 'parallel', 'imperfect']),
          weight: Type.Number({ exclusiveMinimum: 0, default: 1 }),
          system: Type.Optional(System),
        },
        'a way to write a task out, and how often it is taken',
      ),
      { minItems: 1, default: [{ kind: 'sequential', weight: 1 }] },
    ),
  },
  'sequential solutions and the format, imperfectly',
);

const ZeroStage = object(
  {
    ...reinforcement({
      lr: 1e-6,
      final_lr: 0,
      kind: 'constant',
      warmup_steps: 10,
      beta2: 0.999,
      prompts: 32,
      resample: true,
      overlong: true,
    }),
    updates: count('optimizer steps a batch', 32),
    clip: section(
      {
        low: Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1, default: 0.2 }),
        high: Type.Number({ exclusiveMinimum: 0, default: 0.28 }),
        dual: Type.Number({ exclusiveMinimum: 1, default: 10 }),
      },
      "of the ratio: [1 - low, 1 + high]; of a negative advantage's term: dual",
    ),
  },
  'DAPO on sequential responses',
);

const BetaStage = object(
  {
    ...supervised({
      lr: 1e-6,
      final_lr: 5e-7,
      kind: 'cosine',
      warmup_steps: 0.05,
      beta2: 0.95,
      batch_size: 64,
    }),
    traces: Type.Optional(path('JSONL of responses kept earlier, in place of sampling them')),
    teacher: Type.Optional(Start),
    teacher_system: Type.Optional(System),
    tries: count('responses sampled to a question, at most', 8),
    temperature: Type.Number({ exclusiveMinimum: 0, maximum: 2, default: 1 }),
    top_p: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 1 }),
    max_tokens: count('tokens of a response', 30000),
  },
  'warm-up on kept responses, with the parallel mask and positions',
);

const PapoStage = object(
  {
    ...reinforcement({
      lr: 1e-7,
      final_lr: 0,
      kind: 'constant',
      warmup_steps: 0,
      beta2: 0.999,
      prompts: 16,
      resample: false,
      overlong: false,
    }),
    filter: Type.Enum(['none', 'structure', 'format'], {
      default: 'structure',
      description:
        'responses left out of the update: those without a well-formed block, or also those whose format score is below 0',
    }),
    loss_on_forced_tokens: Type.Boolean({
      default: false,
      description: 'learn from the tokens that the engine chose, too; costs a second forward and backward',
    }),
  },
  'PAPO on parallel responses',
);

const { device, threads, isa, maxBatchTokens } = EngineSettings.properties;
/** A size of its own, since on a GPU training needs the memory that is left. */
const kvMemory = Type.Integer({ ...kvBytes, default: 4 * 2 ** 30, description: 'memory of the KV cache' });

export const TrainSettings = object(
  {
    model: Type.Optional(path('folder of a Hugging Face checkpoint')),
    init: Type.Optional(
      object(
        {
          tokenizer: path('folder with tokenizer.json and what belongs to it'),
          hidden_size: count('', 256),
          intermediate_size: count('', 768),
          num_hidden_layers: count('', 4),
          num_attention_heads: count('', 4),
          num_key_value_heads: count('', 2),
          head_dim: count('', 64),
          max_position_embeddings: count('', 4096),
          vocab_size: Type.Optional(
            Type.Integer({ minimum: 1, description: "by default the tokenizer's, up to a multiple of 64" }),
          ),
          rope_theta: Type.Number({ exclusiveMinimum: 0, default: 1e6 }),
          rms_norm_eps: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 1e-6 }),
          tie_word_embeddings: Type.Boolean({ default: true }),
          initializer_range: Type.Number({ exclusiveMinimum: 0, maximum: 1, default: 0.02 }),
        },
        'a model of random weights, in place of `model`',
      ),
    ),
    output: path('folder of the run'),
    seed: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 0 }),
    system: Type.Optional(System),
    chat_template_kwargs: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: "variables of the model's chat template, such as enable_thinking",
      }),
    ),
    data: Type.Optional(DataSettings),
    validation: Type.Optional(ValidationSettings),
    checkpoints: CheckpointSettings,
    parallel: ParallelSettings,
    engine: section(
      { device, threads, kv_memory: kvMemory, isa, max_batch_tokens: maxBatchTokens },
      'where the model runs',
    ),
    traces: count('responses of a step that are written out as text; 0: none', 2, 0),
    stages: object(
      {
        base: Type.Optional(BaseStage),
        zero: Type.Optional(ZeroStage),
        beta: Type.Optional(BetaStage),
        papo: Type.Optional(PapoStage),
      },
      'the stages to run, in this order',
    ),
  },
  'a training run',
);
export type TrainSettings = Static<typeof TrainSettings>;

type Stages = TrainSettings['stages'];
export type BaseSettings = NonNullable<Stages['base']>;
export type ZeroSettings = NonNullable<Stages['zero']>;
export type BetaSettings = NonNullable<Stages['beta']>;
export type PapoSettings = NonNullable<Stages['papo']>;
export type SupervisedSettings = BaseSettings | BetaSettings;
export type ReinforcementSettings = ZeroSettings | PapoSettings;
export type StageSettings = SupervisedSettings | ReinforcementSettings;
export type CheckpointSettings = Static<typeof CheckpointSettings>;
export type ParallelSettings = Static<typeof ParallelSettings>;
export type InitSettings = NonNullable<TrainSettings['init']>;
