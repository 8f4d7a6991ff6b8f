// A tile of 64 queries against a tile of 64 keys, as both kernels of the gradient compute it: weights p = softmax and
// gradients of scores ds = p (dp - delta) / sqrt(head_dim), dp = g . values. Sums are fp32, operands rounded to bf16.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_backward_plan.h"
#include "compute/cuda/attention_swizzle.cuh"
#include "compute/cuda/attention_warp.cuh"

namespace npr::compute {

struct AttentionBackwardArguments {
  const Slot* slots;  // [rows]
  const TilePairs *query_tiles, *key_tiles;
  const TilePair *by_query, *by_key;
  const uint64_t* masks;          // [masks][64 queries], a bit a key
  const uint16_t *keys, *values;  // [kv head][slot][head_dim]
  const uint16_t *q, *g;          // [rows, q_heads, head_dim], g rounded to bf16
  // [q_heads][rows, rounded up to tiles]: the softmax's log-sum as base-2 logarithm, and delta = g . out
  const float2* known;
  float* d_rotated;  // [rows, q_heads + 2 kv_heads, head_dim]
  uint32_t rows, pool_slots, kv_heads, group, head_dim;
  float scale;  // 1 / sqrt(head_dim)

  __device__ uint32_t q_heads() const { return kv_heads * group; }
  __device__ uint32_t padded_rows() const { return (rows + tile_rows - 1) / tile_rows * tile_rows; }
  __device__ float* gradient(uint32_t row, uint32_t head) const {
    return d_rotated + (size_t{row} * (q_heads() + 2 * kv_heads) + head) * head_dim;
  }
};

// What a thread adds to a tile in shared memory: 16 bytes of some of its rows.
template <int D, int threads, class Row>
__device__ __forceinline__ void load_tile(uint32_t to, uint32_t first_row, const AttentionBackwardArguments& a,
                                          const uint16_t* nothing, Row&& row_of) {
  const uint32_t piece = threadIdx.x % (D / 8);
#pragma unroll 4
  for (uint32_t i = threadIdx.x / (D / 8); i < tile_rows; i += threads / (D / 8)) {
    const bool real = first_row + i < a.rows && piece * 8 < a.head_dim;
    copy_16(to + swizzled(i, piece), real ? row_of(first_row + i) + piece * 8 : nothing, real);
  }
}
// Keys or values of 64 rows; queries, or gradients of their outputs, of 64 rows.
template <int D, int threads>
__device__ __forceinline__ void load_key_tile(uint32_t to, uint32_t tile, uint32_t head,
                                              const AttentionBackwardArguments& a, const uint16_t* from) {
  const uint16_t* const heads = from + size_t{head} * a.pool_slots * a.head_dim;
  load_tile<D, threads>(to, tile * tile_rows, a, from,
                        [&](uint32_t row) { return heads + size_t{a.slots[row]} * a.head_dim; });
}
template <int D, int threads>
__device__ __forceinline__ void load_query_tile(uint32_t to, uint32_t tile, uint32_t q_head,
                                                const AttentionBackwardArguments& a, const uint16_t* from) {
  load_tile<D, threads>(to, tile * tile_rows, a, from,
                        [&](uint32_t row) { return from + (size_t{row} * a.q_heads() + q_head) * a.head_dim; });
}
__device__ __forceinline__ void load_mask(uint32_t to, uint32_t mask, const AttentionBackwardArguments& a) {
  if (mask == no_mask || threadIdx.x >= tile_rows / 2) return;
  copy_16(to + 16 * threadIdx.x, a.masks + size_t{mask} * tile_rows + 2 * threadIdx.x, true);
}

// out [16 rows of left, 64 rows of right] = left . right^T; both tiles [.., D].
template <int D>
__device__ __forceinline__ void multiply_tiles(uint32_t left, uint32_t first_row, uint32_t right,
                                               float (&out)[tile_rows / 8][4]) {
  const uint32_t lane = threadIdx.x % 32;
  const SwizzledRow left_row(left, first_row + lane % 16, lane / 16);
  const SwizzledRow right_row(right, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int n = 0; n < int{tile_rows} / 8; ++n) out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    uint32_t a[4];
    load_matrices(a, left_row.at(2 * k));
#pragma unroll
    for (int n = 0; n < int{tile_rows} / 16; ++n) {
      uint32_t b[4];  // rows 16 n .. 16 n + 7 of right: b[0], b[1]; the eight after them: b[2], b[3]
      load_matrices(b, right_row.at(2 * k) + n * 16 * tile_line);
      multiply_add(out[2 * n], a, b[0], b[1]);
      multiply_add(out[2 * n + 1], a, b[2], b[3]);
    }
  }
}

// out [16, columns] += left [16, 64] . columns of `tile` [64, D], from piece `first` on
template <int D, int columns>
__device__ __forceinline__ void add_weighted(const uint32_t (&left)[tile_rows / 16][4], uint32_t tile, uint32_t first,
                                             float (&out)[columns / 8][4]) {
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 0; step < int{tile_rows} / 16; ++step) {
    const SwizzledRow row(tile, 16 * step + lane % 16, first + lane / 16);
#pragma unroll
    for (int n = 0; n < columns / 16; ++n) {
      uint32_t b[4];  // columns 16 n .. 16 n + 7: b[0], b[1]; the eight after them: b[2], b[3]
      load_transposed(b, row.at(2 * n));
      multiply_add(out[2 * n], left[step], b[0], b[1]);
      multiply_add(out[2 * n + 1], left[step], b[2], b[3]);
    }
  }
}

struct ScoreGradient {
  float p, ds;
};
// `known`: of the query.
__device__ __forceinline__ ScoreGradient score_gradient(float score, float dp, float2 known, float scale, bool seen) {
  if (!seen) return {0.0f, 0.0f};
  const float exponent = __fmaf_rn(score, __fmul_rn(scale, 1.44269504088896f), -known.x);
  const float p = exp2_approximate(exponent > 0.0f ? 0.0f : exponent);
  return {p, __fmul_rn(__fmul_rn(p, __fadd_rn(dp, -known.y)), scale)};
}

}  // namespace npr::compute
