/** A Qwen3 checkpoint in Hugging Face format, bf16 in one file, as the GGUF that llama.cpp loads: the same weights. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Tensor, type Value, writeGguf } from './gguf.js';
import { read, type StoredTensor, safetensors } from './safetensors.js';

interface Config {
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  intermediate_size: number;
  vocab_size: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  rope_theta: number;
}

/** Its tokenizer is made up: whoever runs it gives tokens, but llama.cpp loads and samples none without. */
export function writeQwen3Gguf(directory: string, path: string): void {
  const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Config;
  const weights = join(directory, 'model.safetensors');
  const file = openSync(weights, 'r');
  try {
    writeGguf(
      path,
      metadata(config),
      safetensors(weights).map((tensor) => converted(file, tensor)),
    );
  } finally {
    closeSync(file);
  }
}

function metadata(config: Config): Record<string, Value> {
  return {
    'general.architecture': { text: 'qwen3' },
    'qwen3.context_length': { u32: config.max_position_embeddings },
    'qwen3.embedding_length': { u32: config.hidden_size },
    'qwen3.block_count': { u32: config.num_hidden_layers },
    'qwen3.feed_forward_length': { u32: config.intermediate_size },
    'qwen3.attention.head_count': { u32: config.num_attention_heads },
    'qwen3.attention.head_count_kv': { u32: config.num_key_value_heads },
    'qwen3.attention.key_length': { u32: config.head_dim },
    'qwen3.attention.value_length': { u32: config.head_dim },
    'qwen3.attention.layer_norm_rms_epsilon': { f32: config.rms_norm_eps },
    'qwen3.rope.freq_base': { f32: config.rope_theta },
    'tokenizer.ggml.model': { text: 'gpt2' },
    'tokenizer.ggml.pre': { text: 'qwen2' },
    'tokenizer.ggml.tokens': { texts: Array.from({ length: config.vocab_size }, (_, token) => `t${token}`) },
    'tokenizer.ggml.merges': { texts: [] },
  };
}

const names: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

/** `model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight`. */
function nameInGguf(name: string): string {
  const [, layer, part] = /^(?:model\.layers\.(\d+)\.)?(.+)\.weight$/.exec(name) ?? [];
  const known = names[part ?? ''];
  if (known === undefined) throw new Error(`${name}: expected a tensor of Qwen3`);
  return `${layer === undefined ? '' : `blk.${layer}.`}${known}.weight`;
}

const piece = 1 << 24;

/** llama.cpp wants norms as f32; matrices stay as they are. */
function converted(file: number, stored: StoredTensor): Tensor {
  const { shape, dtype, offset, bytes } = stored;
  if (dtype !== 'BF16') throw new Error(`${stored.name}: expected BF16, found ${dtype}`);
  const norm = shape.length === 1;
  return {
    name: nameInGguf(stored.name),
    shape,
    type: norm ? 'f32' : 'bf16',
    *data() {
      for (let at = 0; at < bytes; at += piece) {
        const part = read(file, offset + at, Math.min(piece, bytes - at));
        yield norm ? toF32(part) : part;
      }
    },
  };
}

/** A bf16 is the upper half of an f32. */
function toF32(bf16: Buffer): Buffer {
  const out = Buffer.alloc(2 * bf16.length);
  for (let i = 0; i < bf16.length; i += 2) bf16.copy(out, 2 * i + 2, i, i + 2);
  return out;
}
