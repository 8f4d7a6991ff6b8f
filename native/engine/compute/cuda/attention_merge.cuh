// Merging of partial results of one query vector, by a warp.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_kernel.cuh"

namespace npr::compute {

// `vector`: of [merges, q_heads].
template <int D>
__device__ inline void merge_partials(const AttentionArguments& a, uint32_t vector) {
  constexpr int width = D / 32, ahead = D == 256 ? 8 : 16;  // partial results that are fetched at once
  const uint32_t lane = threadIdx.x % 32, q_heads = a.kv_heads * a.group, q_head = vector % q_heads;
  const AttentionMerge& merge_of = a.plan->array<AttentionMerge>(a.plan->merges_at)[vector / q_heads];
  const uint32_t* ids = a.plan->array<uint32_t>(a.plan->ids_at) + merge_of.first;
  SpanSum total{};
  float out[width];
  for (uint32_t first = 0; first < merge_of.count; first += ahead) {
    const int count = min(merge_of.count - first, uint32_t{ahead});
    SpanSum sums[ahead];
    float outs[ahead][width];
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      if (i >= count) continue;
      const size_t at = size_t{ids[first + i]} * q_heads + q_head;
      sums[i] = a.partial_sums[at];
#pragma unroll
      for (int c = 0; c < width; c += 2) {
        const float2 pair = *reinterpret_cast<const float2*>(a.partial_outs + at * D + lane * width + c);
        outs[i][c] = pair.x, outs[i][c + 1] = pair.y;
      }
    }
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      if (i >= count) continue;
      if (first + i == 0) {
        total = sums[i];
#pragma unroll
        for (int c = 0; c < width; ++c) out[c] = outs[i][c];
        continue;
      }
      const MergeFactors by = merge(total, sums[i]);
#pragma unroll
      for (int c = 0; c < width; ++c) out[c] = merged(out[c], outs[i][c], by);
    }
  }
  const size_t at = size_t{merge_of.row} * q_heads + q_head;
  if (lane == 0 && a.log_sums) a.log_sums[at] = log_sum(total);
#pragma unroll
  for (int c = 0; c < width; c += 2) {
    if (lane * width + c >= a.head_dim) continue;
    *reinterpret_cast<uint32_t*>(a.out + at * a.head_dim + lane * width + c) =
        round_pair(finished(out[c], total.sum), finished(out[c + 1], total.sum));
  }
}

}  // namespace npr::compute
