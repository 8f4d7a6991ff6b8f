// Query vectors against chunks of keys: what a warp folds into the sums of a span.
#pragma once
#include <cstdint>

#include "compute/attention_spans.h"
#include "compute/cuda/attention_softmax.cuh"
#include "compute/cuda/attention_swizzle.cuh"
#include "compute/cuda/attention_warp.cuh"

namespace npr::compute {

// S: AttentionShape. Keys count along the path. A tile of 16 vectors is a thread's in two halves: rows lane / 4 and
// lane / 4 + 8.
template <class S>
struct AttentionFold {
  const uint32_t queries;         // shared memory: [S::vectors][S::D] bf16, swizzled
  const float scale;              // log2(e) / sqrt(head_dim)
  const uint32_t* const visible;  // shared memory: keys that each vector sees
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t row_warp = warp % S::row_warps, column_warp = warp / S::row_warps;
  uint32_t least = 0, most = 0;  // of the warp's vectors
  // Of the span so far; sums are the thread's own share.
  float out[S::tiles][S::columns / 8][4];
  SpanSum span[S::tiles][2];

  __device__ __forceinline__ uint32_t vector_of(uint32_t tile, uint32_t half) const {
    return (row_warp * S::tiles + tile) * 16 + half * 8 + lane / 4;
  }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      span[tile][0] = span[tile][1] = {-INFINITY, 0.0f};
#pragma unroll
      for (int n = 0; n < S::columns / 8; ++n)
        out[tile][n][0] = out[tile][n][1] = out[tile][n][2] = out[tile][n][3] = 0;
    }
  }

  // Folds the chunk whose first key is `key` into the span.
  __device__ __forceinline__ void attend(uint32_t keys, uint32_t key) {
    float scores[S::tiles][chunk_keys / 8][4];
    score(keys, scores);
    if (key + chunk_keys > least) hide(key, scores);
    uint32_t weights[S::tiles][chunk_keys / 16][4];
    soften(scores, weights);
    if (key + chunk_keys <= least) {
#pragma unroll
      for (int step = 0; step < int{chunk_keys} / 16; ++step) weigh(values_row(keys, step), weights, step);
      return;
    }
#pragma unroll
    for (int step = 0; step < int{chunk_keys} / 16; ++step) {
      const uint32_t first = key + 16 * step;
      if (first >= most) continue;
      const SwizzledRow<S::D> values = values_row(keys, step);
      if (first + 16 <= least || all_finite(values)) {
        weigh(values, weights, step);
      } else {
        weigh_apart(values, weights, step, first);
      }
    }
  }

  // Of keys 16 step .. 16 step + 15: at(2 n) are the values in the warp's columns 16 n .. 16 n + 7 as b[0], b[1], and
  // in the eight after them as b[2], b[3].
  __device__ __forceinline__ SwizzledRow<S::D> values_row(uint32_t keys, int step) const {
    return {keys + S::chunk_bytes, 16 * step + lane % 16, column_warp * (S::columns / 8) + lane / 16};
  }

  // scores [vectors, 64] = q . keys
  __device__ __forceinline__ void score(uint32_t keys, float (&scores)[S::tiles][chunk_keys / 8][4]) {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int n = 0; n < int{chunk_keys} / 8; ++n) {
        scores[tile][n][0] = scores[tile][n][1] = scores[tile][n][2] = scores[tile][n][3] = 0;
      }
    }
    const SwizzledRow<S::D> q_row(queries, row_warp * S::tiles * 16 + lane % 16, lane / 16);
    const SwizzledRow<S::D> key_row(keys, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int k = 0; k < S::D / 16; ++k) {
      uint32_t q[S::tiles][4];
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) load_matrices(q[tile], q_row.at(2 * k) + tile * 16 * 2 * S::D);
#pragma unroll
      for (int n = 0; n < int{chunk_keys} / 16; ++n) {
        uint32_t b[4];  // keys 16 n .. 16 n + 7: b[0], b[1]; the eight after them: b[2], b[3]
        load_matrices(b, key_row.at(2 * k) + n * 16 * 2 * S::D);
#pragma unroll
        for (int tile = 0; tile < S::tiles; ++tile) {
          multiply_add(scores[tile][2 * n], q[tile], b[0], b[1]);
          multiply_add(scores[tile][2 * n + 1], q[tile], b[2], b[3]);
        }
      }
    }
  }

  __device__ __forceinline__ void hide(uint32_t key, float (&scores)[S::tiles][chunk_keys / 8][4]) {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      const uint32_t seen[2] = {visible[vector_of(tile, 0)], visible[vector_of(tile, 1)]};
#pragma unroll
      for (int n = 0; n < int{chunk_keys} / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (key + 8 * n + lane % 4 * 2 + i % 2 >= seen[i / 2]) scores[tile][n][i] = -INFINITY;
        }
      }
    }
  }

  // Scores to weights, rounded, as left operands; what was summed so far is rescaled to the new maxima.
  __device__ __forceinline__ void soften(const float (&scores)[S::tiles][chunk_keys / 8][4],
                                         uint32_t (&weights)[S::tiles][chunk_keys / 16][4]) {
    float shrink[S::tiles][2];
    bool same = true;
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = -INFINITY;
#pragma unroll
        for (int n = 0; n < int{chunk_keys} / 8; ++n) {
          top = fmaxf(top, fmaxf(scores[tile][n][2 * half], scores[tile][n][2 * half + 1]));
        }
        SpanSum& s = span[tile][half];
        const float max = fmaxf(s.max, __fmul_rn(row_max(top), scale));
        const float origin = max == -INFINITY ? 0.0f : max;  // of a row that sees none of the keys
        shrink[tile][half] = exp2_approximate(s.max - origin);
        same = same && (s.max == max);
        float sum = 0;
#pragma unroll
        for (int n = 0; n < int{chunk_keys} / 8; ++n) {
          const float low = exp2_approximate(__fmaf_rn(scores[tile][n][2 * half], scale, -origin));
          const float high = exp2_approximate(__fmaf_rn(scores[tile][n][2 * half + 1], scale, -origin));
          const uint32_t pair = round_pair(low, high);
          weights[tile][n / 2][n % 2 * 2 + half] = pair;
          sum += low_of(pair) + high_of(pair);
        }
        s = {max, __fadd_rn(__fmul_rn(s.sum, shrink[tile][half]), sum)};
      }
    }
    if (__all_sync(all_lanes, same)) return;  // times one
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int n = 0; n < S::columns / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) out[tile][n][i] = __fmul_rn(out[tile][n][i], shrink[tile][i / 2]);
      }
    }
  }

  __device__ __forceinline__ void weigh(const SwizzledRow<S::D>& values,
                                        const uint32_t (&weights)[S::tiles][chunk_keys / 16][4], int step) {
#pragma unroll
    for (int n = 0; n < S::columns / 16; ++n) {
      uint32_t b[4];
      load_transposed(b, values.at(2 * n));
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) {
        multiply_add(out[tile][2 * n], weights[tile][step], b[0], b[1]);
        multiply_add(out[tile][2 * n + 1], weights[tile][step], b[2], b[3]);
      }
    }
  }

  __device__ __forceinline__ bool all_finite(const SwizzledRow<S::D>& values) const {
    uint32_t sum = 0;
#pragma unroll
    for (int n = 0; n < S::columns / 16; ++n) {
      uint32_t b[4];
      load_transposed(b, values.at(2 * n));
#pragma unroll
      for (int i = 0; i < 4; ++i) sum = add_times_zero(sum, b[i]);
    }
    return __all_sync(all_lanes, (sum & 0x7fff7fff) == 0);
  }

  // weigh(), row by row, with zeros for the values that a row does not see: zero times a NaN would be one.
  __device__ __forceinline__ void weigh_apart(const SwizzledRow<S::D>& values,
                                              const uint32_t (&weights)[S::tiles][chunk_keys / 16][4], int step,
                                              uint32_t first) {
#pragma unroll
    for (int n = 0; n < S::columns / 16; ++n) {
      uint32_t b[4];
      load_transposed(b, values.at(2 * n));
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll 1
        for (uint32_t row = 0; row < 16; ++row) {
          const uint32_t seen = visible[(row_warp * S::tiles + tile) * 16 + row];
          uint32_t own[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const uint32_t key = first + lane % 4 * 2 + i % 2 * 8;
            own[i] = key + 1 < seen ? b[i] : key < seen ? b[i] & 0xffff : 0;
          }
          float low[4], high[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) low[i] = out[tile][2 * n][i], high[i] = out[tile][2 * n + 1][i];
          multiply_add(low, weights[tile][step], own[0], own[1]);
          multiply_add(high, weights[tile][step], own[2], own[3]);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (lane / 4 + i / 2 * 8 != row) continue;
            out[tile][2 * n][i] = low[i];
            out[tile][2 * n + 1][i] = high[i];
          }
        }
      }
    }
  }
};

}  // namespace npr::compute
