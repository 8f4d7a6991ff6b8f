#include <cuda_bf16.h>

#include "compute/cuda/cuda_check.h"
#include "compute/cuda/norm_gradient.cuh"
#include "compute/cuda/row_math.cuh"
#include "compute/cuda/rows_backward.h"

namespace npr::compute::rows {
namespace {

constexpr uint32_t block_threads = 256, warps = block_threads / 32, most_head_dim = 256;

__device__ void store_floats(float* out, const float (&x)[1]) { out[0] = x[0]; }
__device__ void store_floats(float* out, const float (&x)[2]) { *reinterpret_cast<float2*>(out) = {x[0], x[1]}; }
__device__ void store_floats(float* out, const float (&x)[4]) {
  *reinterpret_cast<float4*>(out) = {x[0], x[1], x[2], x[3]};
}

// A block has sum_rows rows, a warp every eighth head of queries and keys among them; a lane holds `held` neighbouring
// pairs (i, i + head_dim / 2). The rotation's inverse comes first, then the norm's gradient. Values stay as they are.
template <uint32_t held>
__global__ void __launch_bounds__(block_threads)
    rotate_backward_kernel(const float* qkv, uint32_t rows, uint32_t q_heads, uint32_t kv_heads, uint32_t head_dim,
                           AttentionWeights weights, Rotations at, float eps, float* d_rotated, float* partial) {
  __shared__ float sums[warps][2][most_head_dim];
  const uint32_t warp = threadIdx.x / 32, half = head_dim / 2, i = threadIdx.x % 32 * held;
  const bool holds = i < half;  // half is a multiple of 8, so that a lane holds all of its pairs or none
  const uint32_t begin = blockIdx.x * sum_rows, count = min(rows - begin, sum_rows), heads = q_heads + kv_heads;
  float dwa[2][held] = {}, dwb[2][held] = {};  // of queries' and of keys' weights
  for (uint32_t p = warp; p < count * heads; p += warps) {
    const uint32_t row = begin + p / heads, head = p % heads;
    const size_t offset = (size_t{row} * (q_heads + 2 * kv_heads) + head) * head_dim + i;
    const bool key = head >= q_heads;
    float xa[held] = {}, xb[held] = {}, ga[held] = {}, gb[held] = {}, wa[held] = {}, wb[held] = {};
    if (holds) {
      const float* weight = key ? weights.k_norm : weights.q_norm;
      float cosines[held], sines[held];
      load_vector(qkv + offset, xa);
      load_vector(qkv + offset + half, xb);
      load_vector(d_rotated + offset, ga);
      load_vector(d_rotated + offset + half, gb);
      load_vector(weight + i, wa);
      load_vector(weight + half + i, wb);
      load_vector(at.cos + size_t{row} * half + i, cosines);
      load_vector(at.sin + size_t{row} * half + i, sines);
#pragma unroll
      for (uint32_t j = 0; j < held; ++j) {
        const float a = ga[j], b = gb[j];
        ga[j] = a * cosines[j] + b * sines[j];
        gb[j] = b * cosines[j] - a * sines[j];
      }
    }
    float squares = 0, products = 0;
#pragma unroll
    for (uint32_t j = 0; j < held; ++j) {
      add_products(ga[j], xa[j], wa[j], squares, products);
      add_products(gb[j], xb[j], wb[j], squares, products);
    }
    const NormScales scales(warp_sum(squares), warp_sum(products), head_dim, eps);
    if (!holds) continue;
    float da[held], db[held];
#pragma unroll
    for (uint32_t j = 0; j < held; ++j) {
      da[j] = scales.dx(ga[j], xa[j], wa[j]);
      db[j] = scales.dx(gb[j], xb[j], wb[j]);
      const float ma = scales.dw(ga[j], xa[j], key ? dwa[1][j] : dwa[0][j]);
      const float mb = scales.dw(gb[j], xb[j], key ? dwb[1][j] : dwb[0][j]);
      (key ? dwa[1][j] : dwa[0][j]) = ma;
      (key ? dwb[1][j] : dwb[0][j]) = mb;
    }
    store_floats(d_rotated + offset, da);
    store_floats(d_rotated + offset + half, db);
  }
  if (!partial) return;
  if (holds) {
#pragma unroll
    for (uint32_t kind = 0; kind < 2; ++kind) {
      store_floats(&sums[warp][kind][i], dwa[kind]);
      store_floats(&sums[warp][kind][half + i], dwb[kind]);
    }
  }
  __syncthreads();
  for (uint32_t c = threadIdx.x; c < 2 * head_dim; c += block_threads) {
    float total = 0;
    for (uint32_t w = 0; w < warps; ++w) total += sums[w][c / head_dim][c % head_dim];
    partial[size_t{blockIdx.x} * 2 * head_dim + c] = total;
  }
}

}  // namespace

void rotate_backward(cudaStream_t stream, const float* qkv, uint32_t rows, uint32_t q_heads, uint32_t kv_heads,
                     uint32_t head_dim, const AttentionWeights& w, const Rotations& at, float eps, float* d_rotated,
                     float* dq_norm, float* dk_norm, float* partial) {
  if (rows == 0) return;
  const auto kernel = head_dim <= 64    ? rotate_backward_kernel<1>
                      : head_dim <= 128 ? rotate_backward_kernel<2>
                                        : rotate_backward_kernel<4>;
  const uint32_t blocks = partial_sums(rows);
  kernel<<<blocks, block_threads, 0, stream>>>(qkv, rows, q_heads, kv_heads, head_dim, w, at, eps, d_rotated,
                                               dq_norm || dk_norm ? partial : nullptr);
  NPR_LAUNCHED(rotate_backward_kernel);
  if (dq_norm) column_sums(stream, partial, blocks, 2 * head_dim, head_dim, dq_norm);
  if (dk_norm) column_sums(stream, partial + head_dim, blocks, 2 * head_dim, head_dim, dk_norm);
}

}  // namespace npr::compute::rows
