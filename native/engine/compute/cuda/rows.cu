#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/cuda_launch.h"
#include "compute/cuda/gemm_ptx.cuh"
#include "compute/cuda/row_math.cuh"
#include "compute/cuda/rows.h"
#include "error.h"

namespace npr::compute::rows {
namespace {

constexpr uint32_t block_threads = 256;

uint32_t blocks_for(size_t threads) { return static_cast<uint32_t>((threads + block_threads - 1) / block_threads); }

__global__ void rotations_kernel(const int32_t* positions, uint32_t rows, const float* inv_freq, uint32_t pairs,
                                 float scale, float* cosines, float* sines) {
  const size_t at = size_t{blockIdx.x} * block_threads + threadIdx.x;
  if (at >= size_t{rows} * pairs) return;
  const double angle = static_cast<float>(positions[at / pairs]) * inv_freq[at % pairs];
  double sine, cosine;
  sincos(angle, &sine, &cosine);
  cosines[at] = static_cast<float>(cosine) * scale;
  sines[at] = static_cast<float>(sine) * scale;
}

// One block a row. Rows of the table are padded to whole lines, so reads are always whole; k is even.
__global__ void embed_kernel(const int32_t* tokens, const __nv_bfloat162* table, uint32_t stride, uint32_t k,
                             float* out) {
  const __nv_bfloat162* from = table + size_t(tokens[blockIdx.x]) * (stride / 2);
  float2* to = reinterpret_cast<float2*>(out + size_t{blockIdx.x} * k);
  for (uint32_t i = threadIdx.x; i < k / 2; i += block_threads) to[i] = __bfloat1622float2(from[i]);
}

// One block a row, a thread a quad where there are enough; `whole`: rows are whole quads. Either way a thread sums the
// same elements in the same order.
template <bool whole>
__global__ void __launch_bounds__(1024)
    rms_norm_kernel(const float* x, const float* weight, uint32_t n, float eps, __nv_bfloat16* out) {
  ptx::launch_dependents();
  const float4 first_weights = 4 * threadIdx.x < n ? load_quad<whole>(weight, 4 * threadIdx.x, n) : float4{};
  ptx::wait_for_dependencies();
  x += size_t{blockIdx.x} * n;
  out += size_t{blockIdx.x} * n;
  float squares = 0;
  for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * blockDim.x) {
    const float4 v = load_quad<whole>(x, i, n);
    squares = __fmaf_rn(v.x, v.x, squares);
    squares = __fmaf_rn(v.y, v.y, squares);
    squares = __fmaf_rn(v.z, v.z, squares);
    squares = __fmaf_rn(v.w, v.w, squares);
  }
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(n) + eps);
  for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * blockDim.x) {
    const float4 v = load_quad<whole>(x, i, n);
    const float4 w = i == 4 * threadIdx.x ? first_weights : load_quad<whole>(weight, i, n);
    const float4 y{v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w};
    store_quad<whole>(out, i, n, y);
  }
}

// One warp a head; a lane holds `held` neighbouring pairs (i, i + head_dim / 2).
template <uint32_t held>
__global__ void __launch_bounds__(block_threads)
    rotate_kernel(const float* qkv, uint32_t rows, uint32_t q_heads, uint32_t kv_heads, uint32_t head_dim,
                  AttentionWeights weights, Rotations at, float eps, __nv_bfloat16* q, __nv_bfloat16* keys,
                  __nv_bfloat16* values, uint32_t slots) {
  ptx::launch_dependents();
  ptx::wait_for_dependencies();
  const uint32_t heads = q_heads + 2 * kv_heads, half = head_dim / 2;
  const size_t warp = size_t{blockIdx.x} * (block_threads / 32) + threadIdx.x / 32;
  if (warp >= size_t{rows} * heads) return;
  const auto row = static_cast<uint32_t>(warp / heads);
  const auto head = static_cast<uint32_t>(warp % heads);
  const uint32_t i = threadIdx.x % 32 * held;
  const bool holds = i < half;  // half is a multiple of 8, so that a lane holds all of its pairs or none

  const float* x = qkv + warp * head_dim;
  float a[held] = {}, b[held] = {};
  if (holds) {
    load_vector(x + i, a);
    load_vector(x + half + i, b);
  }
  __nv_bfloat16* to;
  if (head < q_heads) {
    to = q + (size_t{row} * q_heads + head) * head_dim;
  } else {
    const uint32_t kv = (head - q_heads) % kv_heads;
    to = (head < q_heads + kv_heads ? keys : values) + (size_t{kv} * slots + at.slots[row]) * head_dim;
  }
  if (head < q_heads + kv_heads) {
    float squares = 0;
#pragma unroll
    for (uint32_t j = 0; j < held; ++j) {
      squares = __fmaf_rn(a[j], a[j], squares);
      squares = __fmaf_rn(b[j], b[j], squares);
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(head_dim) + eps);
    if (!holds) return;
    const float* weight = head < q_heads ? weights.q_norm : weights.k_norm;
    float wa[held], wb[held], cosines[held], sines[held];
    load_vector(weight + i, wa);
    load_vector(weight + half + i, wb);
    load_vector(at.cos + size_t{row} * half + i, cosines);
    load_vector(at.sin + size_t{row} * half + i, sines);
#pragma unroll
    for (uint32_t j = 0; j < held; ++j) {
      const float u = a[j] * scale * wa[j], v = b[j] * scale * wb[j];
      a[j] = u * cosines[j] - v * sines[j];
      b[j] = v * cosines[j] + u * sines[j];
    }
  }
  if (!holds) return;
  store_vector(to + i, a);
  store_vector(to + half + i, b);
}

// e^88 bounds the denominator, so that a gate of -infinity stays visible.
__device__ float silu_times(float gate, float up) { return gate / (1.0f + expf(fminf(-gate, 88.0f))) * up; }

// One thread a quad of outputs, a line of blocks a row.
template <bool whole>
__global__ void __launch_bounds__(block_threads)
    swiglu_kernel(const float* gate_up, uint32_t rows, uint32_t n, __nv_bfloat16* out) {
  ptx::launch_dependents();
  ptx::wait_for_dependencies();
  const uint32_t i = 4 * (blockIdx.x * block_threads + threadIdx.x);
  if (i >= n) return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const float* gates = gate_up + row * 2 * n;
    const float4 gate = load_quad<whole>(gates, i, n), up = load_quad<whole>(gates + n, i, n);
    const float4 y{silu_times(gate.x, up.x), silu_times(gate.y, up.y), silu_times(gate.z, up.z),
                   silu_times(gate.w, up.w)};
    store_quad<whole>(out + row * n, i, n, y);
  }
}

template <bool whole>
__global__ void gather_kernel(const float* x, const uint32_t* pick, uint32_t n, float* out) {
  const float* from = x + size_t{pick[blockIdx.x]} * n;
  float* to = out + size_t{blockIdx.x} * n;
  for (uint32_t i = 4 * threadIdx.x; i < n; i += 4 * block_threads) {
    store_quad<whole>(to, i, n, load_quad<whole>(from, i, n));
  }
}

__device__ __nv_bfloat162 as_pair(float2 x) { return __float22bfloat162_rn(x); }
__device__ __nv_bfloat162 as_pair(__half2 x) { return __float22bfloat162_rn(__half22float2(x)); }
__device__ __nv_bfloat162 as_pair(__nv_bfloat162 x) { return x; }

// One thread a pair; k is even. `Pair`: two elements of the source.
template <class Pair>
__global__ void convert_kernel(const Pair* x, size_t pairs, uint32_t row_pairs, uint32_t stride_pairs,
                               __nv_bfloat162* out, int* not_finite) {
  const size_t at = size_t{blockIdx.x} * block_threads + threadIdx.x;
  if (at >= pairs) return;
  const __nv_bfloat162 y = as_pair(x[at]);
  out[at / row_pairs * stride_pairs + at % row_pairs] = y;
  const float2 wide = __bfloat1622float2(y);
  if (!isfinite(wide.x) || !isfinite(wide.y)) *not_finite = 1;
}

}  // namespace

bool runnable() {
  cudaFuncAttributes attributes;
  const cudaError_t status = cudaFuncGetAttributes(&attributes, embed_kernel);
  cudaGetLastError();  // or the next launch would be blamed for it
  // The first call that needs the GPU's memory. What else it fails by is not the build's fault: to be said, and not to
  // be answered with another device.
  return status != cudaErrorNoKernelImageForDevice && status != cudaErrorInvalidDeviceFunction &&
         status != cudaErrorInvalidKernelImage && status != cudaErrorInvalidPtx &&
         status != cudaErrorUnsupportedPtxVersion && status != cudaErrorJitCompilerNotFound &&
         status != cudaErrorJitCompilationDisabled;
}

void rotations(cudaStream_t stream, const int32_t* positions, uint32_t rows, const float* inv_freq, uint32_t pairs,
               float scale, float* cos, float* sin) {
  if (rows == 0) return;
  rotations_kernel<<<blocks_for(size_t{rows} * pairs), block_threads, 0, stream>>>(positions, rows, inv_freq, pairs,
                                                                                   scale, cos, sin);
  NPR_LAUNCHED(rotations_kernel);
}

void embed(cudaStream_t stream, const int32_t* tokens, uint32_t count, const CudaMatrix& table, float* out) {
  if (count == 0) return;
  embed_kernel<<<count, block_threads, 0, stream>>>(tokens, reinterpret_cast<const __nv_bfloat162*>(table.data()),
                                                    table.stride(), table.k(), out);
  NPR_LAUNCHED(embed_kernel);
}

void rms_norm(cudaStream_t stream, const float* x, const float* weight, uint32_t rows, uint32_t n, float eps,
              bf16* out) {
  if (rows == 0) return;
  const auto kernel = n % 4 == 0 ? rms_norm_kernel<true> : rms_norm_kernel<false>;
  const uint32_t warps = std::min((n + 127) / 128, 32u);
  launch_overlapping(kernel, rows, 32 * warps, 0, stream, x, weight, n, eps, reinterpret_cast<__nv_bfloat16*>(out));
}

void rotate_and_store(cudaStream_t stream, const float* qkv, uint32_t rows, uint32_t q_heads, const CudaKvPool& pool,
                      uint32_t layer, const AttentionWeights& w, const Rotations& at, float eps, bf16* q) {
  if (rows == 0) return;
  const uint32_t kv_heads = pool.shape().kv_heads, head_dim = pool.shape().head_dim;
  const size_t warps = size_t{rows} * (q_heads + 2 * kv_heads);
  const auto kernel = head_dim <= 64 ? rotate_kernel<1> : head_dim <= 128 ? rotate_kernel<2> : rotate_kernel<4>;
  launch_overlapping(kernel, blocks_for(warps * 32), block_threads, 0, stream, qkv, rows, q_heads, kv_heads, head_dim,
                     w, at, eps, reinterpret_cast<__nv_bfloat16*>(q),
                     reinterpret_cast<__nv_bfloat16*>(pool.keys(layer)),
                     reinterpret_cast<__nv_bfloat16*>(pool.values(layer)), pool.slots());
}

void swiglu(cudaStream_t stream, const float* gate_up, uint32_t rows, uint32_t n, bf16* out) {
  if (rows == 0) return;
  const auto kernel = n % 4 == 0 ? swiglu_kernel<true> : swiglu_kernel<false>;
  const dim3 grid(blocks_for((n + 3) / 4), std::min(rows, 65535u));
  launch_overlapping(kernel, grid, block_threads, 0, stream, gate_up, rows, n, reinterpret_cast<__nv_bfloat16*>(out));
}

void gather(cudaStream_t stream, const float* x, const uint32_t* pick, uint32_t picked, uint32_t n, float* out) {
  if (picked == 0) return;
  const auto kernel = n % 4 == 0 ? gather_kernel<true> : gather_kernel<false>;
  kernel<<<picked, block_threads, 0, stream>>>(x, pick, n, out);
  NPR_LAUNCHED(gather_kernel);
}

void convert(cudaStream_t stream, const void* x, DType dtype, uint32_t first, uint32_t count, const CudaMatrix& matrix,
             int* not_finite) {
  const uint32_t row_pairs = matrix.k() / 2, stride_pairs = matrix.stride() / 2;
  const size_t pairs = size_t{count} * row_pairs;
  auto* out = reinterpret_cast<__nv_bfloat162*>(matrix.data()) + size_t{first} * stride_pairs;
  const auto launch = [&]<class Pair>(const Pair* from) {
    convert_kernel<<<blocks_for(pairs), block_threads, 0, stream>>>(from, pairs, row_pairs, stride_pairs, out,
                                                                    not_finite);
  };
  switch (dtype) {
    case DType::bf16:
      launch(static_cast<const __nv_bfloat162*>(x));
      break;
    case DType::f16:
      launch(static_cast<const __half2*>(x));
      break;
    case DType::f32:
      launch(static_cast<const float2*>(x));
      break;
  }
  NPR_LAUNCHED(convert_kernel);
}

}  // namespace npr::compute::rows
