// What a warp folds of its 16 query vectors: chunks of keys into a unit, units into the item's result.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"
#include "compute/cuda/attention_product.cuh"
#include "compute/cuda/attention_softmax.cuh"

namespace npr::compute {

// Of one bf16.
__device__ inline bool is_finite(uint32_t bits) { return (bits & 0x7f80) != 0x7f80; }

// S: AttentionShape. A thread has two vectors' halves of fragments: lane / 4 and lane / 4 + 8 of the warp's. Keys count
// along the path.
template <class S>
struct AttentionFold {
  const float scale;                // log2(e) / sqrt(head_dim)
  uint32_t visible[2];              // keys that the thread's vectors see
  uint32_t least;                   // that all of the warp's see
  Fragment<S::columns> out, total;  // of the unit so far, of the units before it
  UnitSum unit[2], sum[2];          // the same; the unit's are the thread's own share

  __device__ __forceinline__ void hide(uint32_t key, Fragment<64>& scores) const {
    if (key + chunk_keys <= least) return;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (key + 8 * n + threadIdx.x % 4 * 2 + i % 2 >= visible[i / 2]) scores[n][i] = -INFINITY;
      }
    }
  }

  // Scores to weights, rounded; what was summed so far of the unit, if it is not `fresh`, is rescaled to the new
  // maxima.
  __device__ __forceinline__ void soften(const Fragment<64>& scores, bool fresh, Weights& weights) {
    float shrink[2];
    bool same = true;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int n = 0; n < 8; ++n) top = fmaxf(top, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      UnitSum& s = unit[half];
      if (fresh) s = {-INFINITY, 0.0f};
      const float max = fmaxf(s.max, __fmul_rn(row_max(top), scale));
      const float origin = max == -INFINITY ? 0.0f : max;  // of a vector that sees none of the keys
      shrink[half] = exp2_approximate(s.max - origin);
      same = same && s.max == max;
      float added = 0;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const float low = exp2_approximate(__fmaf_rn(scores[n][2 * half], scale, -origin));
        const float high = exp2_approximate(__fmaf_rn(scores[n][2 * half + 1], scale, -origin));
        const uint32_t pair = round_pair(low, high);
        weights[n / 2][n % 2 * 2 + half] = pair;
        added += low_of(pair) + high_of(pair);
      }
      s = {max, __fadd_rn(__fmul_rn(s.sum, shrink[half]), added)};
    }
    if (fresh || __all_sync(all_lanes, same)) return;  // times one
#pragma unroll
    for (int n = 0; n < S::columns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] = __fmul_rn(out[n][i], shrink[i / 2]);
    }
  }

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int n = 0; n < S::columns / 8; ++n) total[n][0] = total[n][1] = total[n][2] = total[n][3] = 0;
    sum[0] = sum[1] = {-INFINITY, 0.0f};
  }

  // Merges the unit into those before it.
  __device__ __forceinline__ void end_unit() {
    MergeFactors by[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) by[half] = merge(sum[half], {unit[half].max, row_sum(unit[half].sum)});
#pragma unroll
    for (int n = 0; n < S::columns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) total[n][i] = merged(total[n][i], out[n][i], by[i / 2]);
    }
  }

  // Adds what values that are not finite add to vectors that see them, after the products went without. `key`: the
  // chunk's first; at(i): the values of its key i, from the thread's first column on.
  template <class At>
  __device__ __forceinline__ void add_not_finite(const Weights& weights, uint32_t key, uint32_t end,
                                                 uint32_t real_columns, const At& at) {
    uint32_t found[16];  // in memory, as keys come one by one, but nowhere else
#pragma unroll
    for (int i = 0; i < 16; ++i) found[i] = moved(weights[i / 4][i % 4]);
#pragma unroll 1
    for (uint32_t i = 0; i < min(chunk_keys, end - key); ++i) {
      const uint16_t* const values = at(i);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t pair = __shfl_sync(all_lanes, found[i / 8 * 2 + half], (threadIdx.x & 28) + i % 8 / 2);
        const float weight = i % 2 ? high_of(pair) : low_of(pair);
        if (key + i >= visible[half]) continue;
#pragma unroll
        for (int n = 0; n < S::columns / 8; ++n) {
          if (8 * n >= real_columns) continue;
          const uint32_t both = *reinterpret_cast<const uint32_t*>(values + 8 * n);
          if (!is_finite(both & 0xffff)) out[n][2 * half] += weight * low_of(both);
          if (!is_finite(both >> 16)) out[n][2 * half + 1] += weight * high_of(both);
        }
      }
    }
  }
};

}  // namespace npr::compute
