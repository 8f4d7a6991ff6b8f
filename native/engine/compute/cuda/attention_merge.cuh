// Merging of the partial results of one query vector, of which a warp has 64 columns.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"

namespace npr::compute {

// The factors of up to 32 neighbouring results, a lane's each, behind those of which `before` is the maximum, which is
// brought up to them: what merge() gives one after the other, but maxima have no order.
__device__ __forceinline__ MergeFactors merge_factors(float& before, UnitSum own, uint32_t count) {
  const uint32_t lane = threadIdx.x % 32;
  float max = lane < count && own.sum != 0.0f ? own.max : -INFINITY;
#pragma unroll
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const float other = __shfl_sync(all_lanes, max, lane - distance);
    if (lane >= distance) max = fmaxf(max, other);
  }
  max = fmaxf(max, before);
  float previous = __shfl_sync(all_lanes, max, lane - 1);
  if (lane == 0) previous = before;
  before = __shfl_sync(all_lanes, max, 31);
  if (own.sum == 0.0f) return {1.0f, 0.0f};
  return {exp2_approximate(previous - max), exp2_approximate(own.max - max)};
}

// `part`: of [q_heads, D / 64].
template <int D>
__device__ inline void merge_partials(const AttentionArguments& a, const AttentionMerge& merge, uint32_t part) {
  const uint32_t lane = threadIdx.x % 32, q_heads = a.kv_heads * a.group;
  const uint32_t column = part % (D / 64) * 64 + lane * 2, q_head = part / (D / 64);
  UnitSum total{-INFINITY, 0.0f};
  float2 out{};
  for (uint32_t first = 0; first < merge.count; first += 32) {
    const uint32_t count = min(merge.count - first, 32u);
    const size_t at = size_t{merge.first + first} * q_heads + q_head;
    const UnitSum own = lane < count ? a.partial_sums[at + size_t{lane} * q_heads] : UnitSum{};
    float2 outs[32];  // all on their way at once
#pragma unroll
    for (uint32_t i = 0; i < 32; ++i) {
      if (i < count) {
        outs[i] = *reinterpret_cast<const float2*>(a.partial_outs + (at + size_t{i} * q_heads) * D + column);
      }
    }
    const MergeFactors factors = merge_factors(total.max, own, count);
#pragma unroll
    for (uint32_t i = 0; i < 32; ++i) {
      if (i >= count) break;
      const MergeFactors by{__shfl_sync(all_lanes, factors.keep, i), __shfl_sync(all_lanes, factors.take, i)};
      const float next = __shfl_sync(all_lanes, own.sum, i);
      total.sum = __fadd_rn(__fmul_rn(total.sum, by.keep), __fmul_rn(next, by.take));
      if (first + i > 0) outs[i] = {merged(out.x, outs[i].x, by), merged(out.y, outs[i].y, by)};
      out = outs[i];
    }
  }
  const size_t at = size_t{merge.row} * q_heads + q_head;
  if (column == 0 && a.log_sums) a.log_sums[at] = log_sum(total);
  if (column < a.head_dim) {
    *reinterpret_cast<uint32_t*>(a.out + at * a.head_dim + column) =
        round_pair(finished(out.x, total.sum), finished(out.y, total.sum));
  }
}

}  // namespace npr::compute
