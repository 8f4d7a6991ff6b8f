// Gradients of attention over one chunk of keys by AMX. Included by kernels_amx.cc alone, after tile_amx.h.
#pragma once

namespace npr::compute {
namespace {

constexpr uint32_t backward_steps = 4;  // of 32 query vectors at once: sums over them stay in tiles as long
constexpr uint32_t amx_backward_vectors = 32 * backward_steps;

// Cuts `columns` (of sixteen each) into as many as go with `rows`, one or two tiles of them: f(A, V, first column).
template <class F>
inline void each_sums(uint32_t rows, uint32_t columns, const F& f) {
  if (rows > tile_height) {
    for (uint32_t c = 0; c < columns; c += 2) {
      with_constant<2>(static_cast<int>(columns - c < 2 ? columns - c : 2), [&](auto v) { f(Constant<2>(), v, c); });
    }
  } else {
    each_four(columns, [&](auto v, uint32_t c) { f(Constant<1>(), v, c); });
  }
}
// Cuts rows into twos of tiles: f(first, rows of it).
template <class F>
inline void each_two_tiles(uint32_t rows, const F& f) {
  for (uint32_t first = 0; first < rows; first += 2 * tile_height) {
    f(first, rows - first < 2 * tile_height ? rows - first : 2 * tile_height);
  }
}

// What the vectors of a block give, and what they and the keys are multiplied by.
struct alignas(64) BackwardTiles {
  bf16 by_vector[amx_backward_vectors][chunk_keys];        // scores' gradients
  bf16 by_key[2][backward_steps][chunk_keys][32];          // probabilities, scores' gradients
  std::byte keys[2 * 16 * step_bytes];                     // [columns][2 steps]
  std::byte vectors[2][backward_steps * 16 * step_bytes];  // [columns][steps]: outputs' gradients, queries
};

// out [columns][steps][16 lines] = rows [count, width], a line pairs two of them; zeros behind them.
inline void interleave_rows(const bf16* rows, uint32_t count, uint32_t width, uint32_t steps, std::byte* out) {
  static constexpr bf16 zeros[256] = {};  // head_dim is at most 256
  for (uint32_t pair = 0; pair < steps * step_lines; ++pair) {
    const bf16* even = 2 * pair < count ? rows + 2 * pair * size_t{width} : zeros;
    const bf16* odd = 2 * pair + 1 < count ? rows + (2 * pair + 1) * size_t{width} : zeros;
    for (uint32_t c = 0; c < width / 16; ++c) {
      interleave(even + 16 * c, odd + 16 * c,
                 reinterpret_cast<bf16*>(out + c * steps * step_bytes + pair * line_bytes));
    }
  }
}

// out [rows][64] = left [rows, head_dim] . tiles
inline void amx_against_chunk(const bf16* left, uint32_t rows, uint32_t head_dim, const bf16* tiles, float* out) {
  each_sums(rows, chunk_keys / tile_slots, [&](auto a, auto v, uint32_t first) {
    constexpr int A = decltype(a)::value, V = decltype(v)::value;
    RightLines<V> right;
    for (uint32_t i = 0; i < V; ++i) {
      right.line[i] = reinterpret_cast<const std::byte*>(tiles + (first + i) * size_t{tile_slots} * head_dim);
    }
    zero_sums();
    multiply_lines<A, V>(plain_rows(left, head_dim * sizeof(bf16)), rows, right, head_dim / 2, [](uint32_t) {});
    store_sums<A, V>(out + tile_slots * first, chunk_keys * sizeof(float));
  });
}

// Probabilities and scores' gradients of `rows` vectors, at most 32, from `first` on: they are block.by_vector[at]
// onwards, and step at / 32 of block.by_key.
inline void amx_block_scores(const ChunkBackwardTask& t, uint32_t first, uint32_t rows, uint32_t at,
                             BackwardTiles& block) {
  alignas(64) float scores[32][chunk_keys], gains[32][chunk_keys];
  const size_t offset = first * size_t{t.head_dim};
  amx_against_chunk(static_cast<const bf16*>(t.q) + offset, rows, t.head_dim, t.key_tiles, scores[0]);
  amx_against_chunk(static_cast<const bf16*>(t.g) + offset, rows, t.head_dim, t.value_tiles, gains[0]);
  settle_memory();
  const Vec scale = set1(t.scale);
  for (uint32_t key = 0; key < chunk_keys; key += 16) {
    __m512i words[2][16];  // a line pairs two vectors
    for (uint32_t pair = 0; pair < 16; ++pair) {
      bf16 rounded[2][2][16] = {};  // probabilities, scores' gradients; of two vectors
      for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t r = 2 * pair + i;
        if (r >= rows) continue;
        const __mmask16 mask = lanes_below(t.visible[first + r] > key ? t.visible[first + r] - key : 0u);
        const Vec p = exp_negative(min(set1(0.0f), load(scores[r] + key) * scale - set1(t.log_sums[first + r])));
        const Vec s = p * (load(gains[r] + key) - set1(t.deltas[first + r])) * scale;
        store_operands(rounded[0][i], Vec{_mm512_maskz_mov_ps(mask, p.v)});
        store_operands(rounded[1][i], Vec{_mm512_maskz_mov_ps(mask, s.v)});
        __builtin_memcpy(block.by_vector[at + r] + key, rounded[1][i], sizeof rounded[1][i]);
      }
      for (int m = 0; m < 2; ++m) {
        words[m][pair] = reinterpret_cast<__m512i>(load_interleaved<0>(rounded[m][0], rounded[m][1]));
      }
    }
    for (int m = 0; m < 2; ++m) {
      transpose_words(words[m]);
      for (uint32_t i = 0; i < 16; ++i) _mm512_store_si512(block.by_key[m][at / 32][key + i], words[m][i]);
    }
  }
}

// out [rows, head_dim] += left . right [head_dim / 16 columns][steps]
inline void amx_add_product(const LeftRows& left, uint32_t rows, const std::byte* right, uint32_t steps,
                            uint32_t head_dim, float* out) {
  each_sums(rows, head_dim / 16, [&](auto a, auto v, uint32_t column) {
    constexpr int A = decltype(a)::value, V = decltype(v)::value;
    RightLines<V> lines;
    for (uint32_t i = 0; i < V; ++i) lines.line[i] = right + (column + i) * steps * step_bytes;
    load_sums<A, V>(out + 16 * column, head_dim * sizeof(float));
    for (uint32_t i = 0; i < steps; ++i) multiply_step<A, V>(left, lines, i);
    store_sums<A, V>(out + 16 * column, head_dim * sizeof(float));
  });
}

void amx_attend_backward(const ChunkBackwardTask& t) {
  Shape shape;
  BackwardTiles block;
  interleave_rows(t.key_rows, chunk_keys, t.head_dim, 2, block.keys);
  for (uint32_t first = 0; first < t.vectors; first += amx_backward_vectors) {
    const uint32_t left = t.vectors - first, count = left < amx_backward_vectors ? left : amx_backward_vectors;
    const uint32_t steps = (count + 31) / 32;
    const size_t offset = first * size_t{t.head_dim};
    each_two_tiles(count, [&](uint32_t at, uint32_t rows) {
      shape.require(rows);
      amx_block_scores(t, first + at, rows, at, block);
      settle_memory();
      amx_add_product(plain_rows(block.by_vector[at], sizeof block.by_vector[at]), rows, block.keys, 2, t.head_dim,
                      t.dq + (first + at) * size_t{t.head_dim});
    });
    interleave_rows(t.g_rows + offset, count, t.head_dim, steps, block.vectors[0]);
    interleave_rows(t.q_rows + offset, count, t.head_dim, steps, block.vectors[1]);
    settle_memory();
    shape.require(2 * tile_height);
    for (uint32_t key = 0; key < t.keys; key += 2 * tile_height) {
      for (int m = 0; m < 2; ++m) {
        const LeftRows keys{reinterpret_cast<const std::byte*>(block.by_key[m][0][key]), 64, tile_height * 64,
                            sizeof block.by_key[m][0]};
        amx_add_product(keys, 2 * tile_height, block.vectors[m], steps, t.head_dim,
                        (m == 0 ? t.dv : t.dk) + key * size_t{t.head_dim});
      }
    }
    settle_memory();
  }
}

}  // namespace
}  // namespace npr::compute
