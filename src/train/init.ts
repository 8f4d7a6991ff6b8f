/** A model of random weights to start from. */
import { join } from 'node:path';
import { copyTokenizer, writeJson } from '../checkpoint/model_files.js';
import { fromFloats, SINGLE, type Tensor, writeTensors } from '../checkpoint/safetensors.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { generator, seedOf } from './random.js';
import type { InitSettings } from './settings.js';

/**
 * Writes a Qwen3 of a shape into a folder: matrices from a normal distribution of deviation `initializer_range`, norms 1, as
 * transformers starts one. Throws a TokenizerFileError where the tokenizer can't be read.
 */
export async function writeRandomModel(settings: InitSettings, seed: number, folder: string): Promise<void> {
  const { tokenizer: source, initializer_range, ...shape } = settings;
  const { vocabulary } = await Tokenizer.load(source);
  const tokens = vocabulary.offsets.length - 1;
  const vocab_size = settings.vocab_size ?? Math.ceil(tokens / 64) * 64;
  await copyTokenizer(source, folder);
  await writeJson(join(folder, 'config.json'), {
    architectures: ['Qwen3ForCausalLM'],
    model_type: 'qwen3',
    ...shape,
    vocab_size,
    hidden_act: 'silu',
    attention_bias: false,
    attention_dropout: 0,
    initializer_range,
    eos_token_id: vocabulary.endTokens.length === 1 ? vocabulary.endTokens[0] : vocabulary.endTokens,
    use_cache: true,
    use_sliding_window: false,
    sliding_window: null,
    dtype: 'bfloat16',
    torch_dtype: 'bfloat16',
  });
  const tensors = shapes({ ...settings, vocab_size }).map(
    ([name, shape]): Tensor => ({
      name,
      dtype: 'BF16',
      shape,
      bytes: async () => {
        const size = shape.reduce((product, length) => product * length, 1);
        const values =
          shape.length === 1
            ? new Float32Array(size).fill(1)
            : normal(size, initializer_range, seedOf(seed, 'init', name));
        return fromFloats('BF16', values);
      },
    }),
  );
  await writeTensors(join(folder, SINGLE), tensors);
}

/** Every tensor by its name in transformers. */
function shapes(settings: InitSettings & { vocab_size: number }): [name: string, shape: number[]][] {
  const { vocab_size, hidden_size: hidden, intermediate_size: inner, head_dim } = settings;
  const queries = settings.num_attention_heads * head_dim;
  const keys = settings.num_key_value_heads * head_dim;
  const layers = Array.from({ length: settings.num_hidden_layers }, (_, i): [string, number[]][] =>
    Object.entries({
      'input_layernorm.weight': [hidden],
      'self_attn.q_proj.weight': [queries, hidden],
      'self_attn.k_proj.weight': [keys, hidden],
      'self_attn.v_proj.weight': [keys, hidden],
      'self_attn.o_proj.weight': [hidden, queries],
      'self_attn.q_norm.weight': [head_dim],
      'self_attn.k_norm.weight': [head_dim],
      'post_attention_layernorm.weight': [hidden],
      'mlp.gate_proj.weight': [inner, hidden],
      'mlp.up_proj.weight': [inner, hidden],
      'mlp.down_proj.weight': [hidden, inner],
    }).map(([name, shape]) => [`model.layers.${i}.${name}`, shape]),
  );
  return [
    ['model.embed_tokens.weight', [vocab_size, hidden]],
    ...layers.flat(),
    ['model.norm.weight', [hidden]],
    ...(settings.tie_word_embeddings
      ? []
      : ([['lm_head.weight', [vocab_size, hidden]]] as [string, number[]][])),
  ];
}

/** By Box and Muller. */
function normal(size: number, deviation: number, seed: bigint): Float32Array {
  const next = generator(seed);
  const values = new Float32Array(size);
  for (let i = 0; i < size; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < size) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}
