// Merging of the partial results of one query vector, of which a warp has 64 columns.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"

namespace npr::compute {

// The factors of up to 32 neighbouring results, a lane's each, behind `before`, whose sum is brought up to them: what
// merge() gives one after the other. Only the sums are added one by one; maxima have no order.
__device__ __forceinline__ MergeFactors merge_factors(UnitSum& before, bool any_before, UnitSum own, uint32_t count) {
  const uint32_t lane = threadIdx.x % 32;
  const bool counts = lane < count && (own.sum != 0.0f || (lane == 0 && !any_before));
  float max = counts ? own.max : -INFINITY;
#pragma unroll
  for (uint32_t distance = 1; distance < 32; distance *= 2) {
    const float other = __shfl_sync(all_lanes, max, lane - distance);
    if (lane >= distance) max = fmaxf(max, other);
  }
  if (any_before) max = fmaxf(max, before.max);
  float previous = __shfl_sync(all_lanes, max, lane - 1);
  if (lane == 0) previous = before.max;
  MergeFactors by{1.0f, 0.0f};
  if (own.sum != 0.0f) by = {exp2_approximate(previous - max), exp2_approximate(own.max - max)};
  for (uint32_t i = 0; i < count; ++i) {
    const UnitSum next{__shfl_sync(all_lanes, max, i), __shfl_sync(all_lanes, own.sum, i)};
    const float keep = __shfl_sync(all_lanes, by.keep, i), take = __shfl_sync(all_lanes, by.take, i);
    if (i == 0 && !any_before) {
      before = next;
    } else if (next.sum != 0.0f) {
      before = {next.max, __fadd_rn(__fmul_rn(before.sum, keep), __fmul_rn(next.sum, take))};
    }
  }
  return by;
}

// `part`: of [merges, q_heads, D / 64].
template <int D>
__device__ inline void merge_partials(const AttentionArguments& a, const AttentionMerge& merge, uint32_t part) {
  const uint32_t lane = threadIdx.x % 32, q_heads = a.kv_heads * a.group;
  const uint32_t column = part % (D / 64) * 64 + lane * 2, q_head = part / (D / 64) % q_heads;
  UnitSum total{};
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
    const MergeFactors factors = merge_factors(total, first > 0, own, count);
#pragma unroll
    for (uint32_t i = 0; i < 32; ++i) {
      if (i >= count) break;
      const MergeFactors by{__shfl_sync(all_lanes, factors.keep, i), __shfl_sync(all_lanes, factors.take, i)};
      if (first + i == 0) {
        out = outs[0];
      } else {
        out = {merged(out.x, outs[i].x, by), merged(out.y, outs[i].y, by)};
      }
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
