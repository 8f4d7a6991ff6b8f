// Softmax over pieces of a path: what a unit's keys add up to, how units are merged, and how a row is finished. The one
// arithmetic of all kernels.
//
// Maxima are of scores times `scale` = log2(e) / sqrt(head_dim), so in units of base-2 logarithms.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_warp.cuh"

namespace npr::compute {

struct UnitSum {
  float max;  // -infinity where nothing is seen
  float sum;  // of 2^(score - max), each rounded to bf16
};

// The factors of two neighbouring pieces' outputs, and the sum of both in `total`. A piece of which nothing is seen
// changes nothing.
struct MergeFactors {
  float keep, take;
};
__device__ inline MergeFactors merge(UnitSum& total, UnitSum next) {
  if (next.sum == 0.0f) return {1.0f, 0.0f};
  const float max = fmaxf(total.max, next.max);
  const MergeFactors by{exp2_approximate(total.max - max), exp2_approximate(next.max - max)};
  total = {max, __fadd_rn(__fmul_rn(total.sum, by.keep), __fmul_rn(next.sum, by.take))};
  return by;
}
__device__ inline float merged(float total, float next, MergeFactors by) {
  return __fmaf_rn(next, by.take, __fmul_rn(total, by.keep));
}

__device__ inline float finished(float out, float sum) { return __fmul_rn(out, __frcp_rn(sum)); }

// The natural logarithm of the softmax's sum.
__device__ inline float log_sum(UnitSum s) { return __fmaf_rn(s.max, 0.693147180559945f, logf(s.sum)); }

}  // namespace npr::compute
