// Gradients of attention over one chunk of keys. Included once per instruction set, after kernel_attention.h.
#pragma once

namespace npr::compute {
namespace {

constexpr uint32_t backward_vectors =
    48;  // at once: their probabilities and gradients (24 KiB, as float 48) stay cached

// What the vectors of a block give, as left operands of the products that follow.
struct BackwardBlock {
  // probabilities, scores' gradients
  Operand by_vector[2][backward_vectors][chunk_keys];
  Operand by_key[2][chunk_keys][backward_vectors];
};

// out [R][64] = left [R, head_dim] . tiles
template <int R>
inline void against_chunk(const Operand* left, uint32_t head_dim, const bf16* tiles, float* out) {
  constexpr int V = vectors_beside(R);
  each_part<V>(chunk_keys / tile_slots, [&](auto v, uint32_t first) {
    constexpr int N = decltype(v)::value;
    Tiles<N> b;
    for (int i = 0; i < N; ++i) b.tile[i] = tiles + (first + i) * size_t{tile_slots} * head_dim;
    tile<R, N>(ByRow{left, head_dim}, b, head_dim / 2, out + tile_slots * first, chunk_keys, false);
  });
}

// Probabilities and scores' gradients of vectors [first + at, first + at + R) of the task.
template <int R>
inline void block_scores(const ChunkBackwardTask& t, uint32_t first, uint32_t at, BackwardBlock& block) {
  float scores[R][chunk_keys], gains[R][chunk_keys];
  const size_t offset = (first + at) * size_t{t.head_dim};
  against_chunk<R>(static_cast<const Operand*>(t.q) + offset, t.head_dim, t.key_tiles, scores[0]);
  against_chunk<R>(static_cast<const Operand*>(t.g) + offset, t.head_dim, t.value_tiles, gains[0]);
  for (int r = 0; r < R; ++r) {
    const uint32_t vector = first + at + r;
    const Vec log_sum = set1(t.log_sums[vector]), delta = set1(t.deltas[vector]), scale = set1(t.scale);
    for (uint32_t i = 0; i < chunk_keys; i += 16) {
      const Vec p = exp_negative(min(set1(0.0f), load(scores[r] + i) * scale - log_sum));
      store(scores[r] + i, p);
      store(gains[r] + i, p * (load(gains[r] + i) - delta) * scale);
    }
    for (uint32_t i = t.visible[vector]; i < chunk_keys; ++i) scores[r][i] = gains[r][i] = 0;
    narrow(scores[r], chunk_keys, block.by_vector[0][at + r]);
    narrow(gains[r], chunk_keys, block.by_vector[1][at + r]);
  }
}

// by_key from by_vector, whose first `count` vectors exist; zeros behind them up to the next sixteen.
inline void transpose_block(BackwardBlock& block, uint32_t count) {
  for (int m = 0; m < 2; ++m) {
    for (uint32_t vector = 0; vector < count; vector += 16) {
      for (uint32_t key = 0; key < chunk_keys; key += 16) {
        Vec rows[16];
        for (uint32_t i = 0; i < 16; ++i) {
          rows[i] = vector + i < count ? load_operands(&block.by_vector[m][vector + i][key]) : set1(0.0f);
        }
        transpose(rows);
        for (uint32_t i = 0; i < 16; ++i) narrow_some(&block.by_key[m][key + i][vector], rows[i], 16);
      }
    }
  }
}

// out [count, head_dim] += left [count, 2 steps] . rows [2 steps][head_dim]
inline void add_weighted(const Operand* left, size_t left_stride, uint32_t count, const bf16* const* rows, size_t steps,
                         uint32_t head_dim, float* out) {
  each_part<tile_rows>(count, [&](auto r, uint32_t first) {
    constexpr int R = decltype(r)::value;
    each_part<vectors_beside(R)>(head_dim / 16, [&](auto v, uint32_t column) {
      constexpr int V = decltype(v)::value;
      tile<R, V>(ByRow{left + first * left_stride, left_stride}, Rows{rows, 16 * size_t{column}}, steps,
                 out + first * size_t{head_dim} + 16 * column, head_dim, true);
    });
  });
}

void attend_backward(const ChunkBackwardTask& t) {
  BackwardBlock block;
  const bf16* keys[chunk_keys];
  for (uint32_t i = 0; i < chunk_keys; ++i) keys[i] = t.key_rows + i * size_t{t.head_dim};
  const uint32_t even_keys = (t.keys + 1) / 2;
  for (uint32_t first = 0; first < t.vectors; first += backward_vectors) {
    const uint32_t count = t.vectors - first < backward_vectors ? t.vectors - first : backward_vectors;
    each_part<tile_rows>(count, [&](auto r, uint32_t at) { block_scores<decltype(r)::value>(t, first, at, block); });
    const size_t offset = first * size_t{t.head_dim};
    transpose_block(block, count);
    add_weighted(block.by_vector[1][0], chunk_keys, count, keys, even_keys, t.head_dim, t.dq + offset);
    const bf16 *queries[backward_vectors], *gains[backward_vectors];
    for (uint32_t i = 0; i < count; ++i) {
      queries[i] = t.q_rows + offset + i * size_t{t.head_dim};
      gains[i] = t.g_rows + offset + i * size_t{t.head_dim};
    }
    if (count % 2) {  // a pair's second half, weighed by zero
      queries[count] = queries[count - 1];
      gains[count] = gains[count - 1];
    }
    const size_t steps = (count + 1) / 2;
    add_weighted(block.by_key[0][0], backward_vectors, t.keys, gains, steps, t.head_dim, t.dv);
    add_weighted(block.by_key[1][0], backward_vectors, t.keys, queries, steps, t.head_dim, t.dk);
  }
}

}  // namespace
}  // namespace npr::compute
