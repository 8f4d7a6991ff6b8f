// What kernels over rows share: loads and stores of some elements at once, and sums of one order.
#pragma once
#include <cuda_bf16.h>

#include <cstdint>

namespace npr::compute {

// Elements [i, i + 4) of a row of n, zeros beyond it. `whole`: n is a multiple of 4 and x aligned to 16 bytes.
template <bool whole>
__device__ float4 load_quad(const float* x, uint32_t i, uint32_t n) {
  if constexpr (whole) return *reinterpret_cast<const float4*>(x + i);
  return {x[i], i + 1 < n ? x[i + 1] : 0.0f, i + 2 < n ? x[i + 2] : 0.0f, i + 3 < n ? x[i + 3] : 0.0f};
}

template <bool whole>
__device__ void store_quad(float* out, uint32_t i, uint32_t n, float4 y) {
  if constexpr (whole) {
    *reinterpret_cast<float4*>(out + i) = y;
  } else {
    out[i] = y.x;
    if (i + 1 < n) out[i + 1] = y.y;
    if (i + 2 < n) out[i + 2] = y.z;
    if (i + 3 < n) out[i + 3] = y.w;
  }
}

template <bool whole>
__device__ void store_quad(__nv_bfloat16* out, uint32_t i, uint32_t n, float4 y) {
  if constexpr (whole) {
    const __nv_bfloat162 pairs[2] = {__float22bfloat162_rn({y.x, y.y}), __float22bfloat162_rn({y.z, y.w})};
    *reinterpret_cast<uint2*>(out + i) = *reinterpret_cast<const uint2*>(pairs);
  } else {
    out[i] = __float2bfloat16_rn(y.x);
    if (i + 1 < n) out[i + 1] = __float2bfloat16_rn(y.y);
    if (i + 2 < n) out[i + 2] = __float2bfloat16_rn(y.z);
    if (i + 3 < n) out[i + 3] = __float2bfloat16_rn(y.w);
  }
}

// 1, 2 or 4 neighbouring elements, aligned to as many.
__device__ inline void load_vector(const float* x, float (&out)[1]) { out[0] = x[0]; }
__device__ inline void load_vector(const float* x, float (&out)[2]) {
  const float2 v = *reinterpret_cast<const float2*>(x);
  out[0] = v.x, out[1] = v.y;
}
__device__ inline void load_vector(const float* x, float (&out)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(x);
  out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
}
__device__ inline void store_vector(__nv_bfloat16* out, const float (&x)[1]) { out[0] = __float2bfloat16_rn(x[0]); }
__device__ inline void store_vector(__nv_bfloat16* out, const float (&x)[2]) {
  *reinterpret_cast<__nv_bfloat162*>(out) = __float22bfloat162_rn({x[0], x[1]});
}
__device__ inline void store_vector(__nv_bfloat16* out, const float (&x)[4]) {
  store_quad<true>(out, 0, 4, {x[0], x[1], x[2], x[3]});
}

// The sum over a warp's 32 lanes, in all of them.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffff, x, distance);
  return x;
}

// The sum over a block's threads, whole warps, in all of them; once a kernel.
__device__ inline float block_sum(float x) {
  __shared__ float sums[32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? sums[threadIdx.x % 32] : 0.0f);
}

}  // namespace npr::compute
