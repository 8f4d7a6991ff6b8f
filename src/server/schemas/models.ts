/** Models and health. */
import Type from 'typebox';

export const Model = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer(),
  owned_by: Type.String(),
  max_model_len: Type.Integer({ description: 'Tokens of prompt and response together.' }),
  kv_slots: Type.Integer({ description: 'Tokens that the KV cache holds.' }),
  parallel: Type.Boolean({ description: 'Whether the model can reason in parallel.' }),
});

export const ModelList = Type.Object({ object: Type.Literal('list'), data: Type.Array(Model) });

export const Health = Type.Object({
  status: Type.Enum(['ready', 'loading', 'draining', 'failed']),
  running: Type.Optional(Type.Integer()),
  waiting: Type.Optional(Type.Integer()),
});
