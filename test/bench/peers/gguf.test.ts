import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Tensor, writeGguf } from '../../../bench/peers/gguf.js';
import { writeQwen3Gguf } from '../../../bench/peers/qwen3_gguf.js';
import { readGguf } from './gguf_reader.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'npr-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const tensor = (name: string, type: Tensor['type'], shape: number[], bytes: number[]): Tensor => ({
  name,
  type,
  shape,
  *data() {
    yield Uint8Array.from(bytes.slice(0, 3));
    yield Uint8Array.from(bytes.slice(3));
  },
});

describe('a GGUF file', () => {
  it('is laid out byte for byte as its specification says', () => {
    const path = join(folder, 'a.gguf');
    writeGguf(path, { a: { u32: 7 } }, [tensor('w', 'bf16', [2, 1], [1, 2, 3, 4])]);
    const bytes = (...numbers: number[]) => Buffer.from(numbers);
    const u64 = (value: number) => bytes(value, 0, 0, 0, 0, 0, 0, 0);
    const expected = Buffer.concat([
      ...[Buffer.from('GGUF'), bytes(3, 0, 0, 0), u64(1), u64(1)],
      ...[u64(1), Buffer.from('a'), bytes(4, 0, 0, 0), bytes(7, 0, 0, 0)],
      // The tensor's sizes backwards, its type and where it lies after the header.
      ...[u64(1), Buffer.from('w'), bytes(2, 0, 0, 0), u64(1), u64(2), bytes(30, 0, 0, 0), u64(0)],
      ...[Buffer.alloc(96 - 82), bytes(1, 2, 3, 4), Buffer.alloc(28)],
    ]);
    expect(readFileSync(path)).toEqual(expected);
  });

  it('gives back what was written, each tensor at a multiple of 32', () => {
    const path = join(folder, 'a.gguf');
    const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const metadata = { n: { u32: 4e9 }, x: { f32: 0.5 }, s: { text: 'zwölf' }, l: { texts: ['', 'b', 'ä'] } };
    writeGguf(path, metadata, [
      tensor('odd', 'bf16', [3, 2], numbers),
      tensor('norm', 'f32', [3], numbers),
      tensor('last', 'bf16', [2], numbers.slice(0, 4)),
    ]);
    const file = readGguf(path);
    expect(file.metadata).toEqual({ n: 4e9, x: 0.5, s: 'zwölf', l: ['', 'b', 'ä'] });
    expect(file.tensors.map(({ name, shape, type }) => [name, shape, type])).toEqual([
      ['odd', [3, 2], 30],
      ['norm', [3], 0],
      ['last', [2], 30],
    ]);
    expect(file.tensors.map(({ offset }) => offset % 32)).toEqual([0, 0, 0]);
    expect(file.tensors.map(({ data }) => [...data])).toEqual([numbers, numbers, numbers.slice(0, 4)]);
  });

  it('refuses a tensor of more or fewer numbers than its shape', () => {
    const path = join(folder, 'a.gguf');
    expect(() => writeGguf(path, {}, [tensor('w', 'bf16', [3], [1, 2, 3, 4])])).toThrow(
      'w: expected 6 bytes, was given 4',
    );
  });
});

describe('a Qwen3 checkpoint as GGUF', () => {
  const config = {
    hidden_size: 2,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    intermediate_size: 6,
    vocab_size: 3,
    max_position_embeddings: 99,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
  };

  const write = (tensors: Record<string, { dtype?: string; shape: number[]; bytes: number[] }>) => {
    let end = 0;
    const entries = Object.entries(tensors).map(([name, { dtype = 'BF16', shape, bytes }]) => {
      const begin = end;
      end += bytes.length;
      return [name, { dtype, shape, data_offsets: [begin, end] }];
    });
    const header = Buffer.from(
      JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) }),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const data = Object.values(tensors).map(({ bytes }) => Buffer.from(bytes));
    writeFileSync(join(folder, 'model.safetensors'), Buffer.concat([length, header, ...data]));
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  };
  const convert = (name = 'a.gguf') => {
    writeQwen3Gguf(folder, join(folder, name));
    return readGguf(join(folder, name));
  };

  it("has llama.cpp's names, matrices as they are and norms as f32", () => {
    write({
      'model.embed_tokens.weight': { shape: [3, 2], bytes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] },
      'model.layers.0.self_attn.q_norm.weight': { shape: [2], bytes: [0x80, 0x3f, 0x00, 0xc0] },
      'model.layers.0.mlp.down_proj.weight': { shape: [1, 2], bytes: [4, 3, 2, 1] },
      'model.norm.weight': { shape: [1], bytes: [0x40, 0x3f] },
    });
    const { tensors } = convert();
    expect(tensors.map(({ name, shape, type }) => [name, shape, type])).toEqual([
      ['token_embd.weight', [3, 2], 30],
      ['blk.0.attn_q_norm.weight', [2], 0],
      ['blk.0.ffn_down.weight', [1, 2], 30],
      ['output_norm.weight', [1], 0],
    ]);
    const [embedding, queryNorm, down, norm] = tensors.map(({ data }) => data);
    expect([...(embedding ?? [])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect([queryNorm?.readFloatLE(0), queryNorm?.readFloatLE(4)]).toEqual([1, -2]);
    expect([...(down ?? [])]).toEqual([4, 3, 2, 1]);
    expect(norm?.readFloatLE(0)).toBe(0.75);
  });

  it('says its shape and has a token for every row of the embedding', () => {
    write({});
    expect(convert().metadata).toEqual({
      'general.architecture': 'qwen3',
      'qwen3.context_length': 99,
      'qwen3.embedding_length': 2,
      'qwen3.block_count': 1,
      'qwen3.feed_forward_length': 6,
      'qwen3.attention.head_count': 4,
      'qwen3.attention.head_count_kv': 2,
      'qwen3.attention.key_length': 8,
      'qwen3.attention.value_length': 8,
      'qwen3.attention.layer_norm_rms_epsilon': Math.fround(1e-6),
      'qwen3.rope.freq_base': 1e6,
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'qwen2',
      'tokenizer.ggml.tokens': ['t0', 't1', 't2'],
      'tokenizer.ggml.merges': [],
    });
  });

  it('is the same every time', () => {
    write({ 'lm_head.weight': { shape: [1, 2], bytes: [1, 2, 3, 4] } });
    convert('a.gguf');
    convert('b.gguf');
    expect(readFileSync(join(folder, 'a.gguf'))).toEqual(readFileSync(join(folder, 'b.gguf')));
  });

  it('refuses what is not Qwen3 in bf16, or is cut short', () => {
    write({ 'model.layers.0.self_attn.q_proj.bias': { shape: [1], bytes: [1, 2] } });
    expect(() => convert()).toThrow('model.layers.0.self_attn.q_proj.bias: expected a tensor of Qwen3');
    write({ 'model.norm.weight': { dtype: 'F32', shape: [1], bytes: [1, 2, 3, 4] } });
    expect(() => convert()).toThrow('model.norm.weight: expected BF16, found F32');
    write({ 'model.norm.weight': { shape: [1], bytes: [1, 2] } });
    const path = join(folder, 'model.safetensors');
    writeFileSync(path, readFileSync(path).subarray(0, -1));
    expect(() => convert()).toThrow('cut short');
  });
});
