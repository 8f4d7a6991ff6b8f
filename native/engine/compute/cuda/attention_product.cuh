// The two products of attention, of 64 query vectors and 64 keys by a warpgroup: with the matrix instruction of sm_90a,
// else a warp at a time. Warp w has vectors 16 w .. 16 w + 15, in fragments as attention_warp.cuh has them. Tiles are
// as attention_swizzle.cuh has them.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_swizzle.cuh"
#include "compute/cuda/attention_warp.cuh"
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "compute/cuda/attention_wgmma.cuh"
#include "compute/cuda/gemm_ptx.cuh"
#endif

namespace npr::compute {

// Of 64 vectors: a thread's C tiles of 16 x 8 along `Columns` columns.
template <int Columns>
using Fragment = float[Columns / 8][4];
// Rounded weights of 64 keys as left operands, 16 keys each.
using Weights = uint32_t[4][4];

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// What the thread has written to shared memory is seen by products that are started after a sync.
__device__ __forceinline__ void fence_operands() { ptx::copy_fence(); }

// scores = queries . keys, once finish_products() returns.
template <int D>
__device__ __forceinline__ void start_scores(uint32_t queries, uint32_t keys, Fragment<64>& scores) {
  const uint64_t a = wgmma_descriptor<false>(queries), b = wgmma_descriptor<false>(keys);
  wgmma_fence();
#pragma unroll
  for (uint32_t k = 0; k < D / 16; ++k) {
    const uint64_t at = (k / 4 * panel_bytes >> 4) + k % 4 * wgmma_k_step<false>;
    wgmma<64, false, false>(reinterpret_cast<float(&)[32]>(scores), a + at, b + at, k);
  }
  wgmma_commit();
}

// out = weights . values where `fresh`, else out += weights . values: of the `Columns` columns from panel `values` on,
// once finish_products() returns.
template <int Columns>
__device__ __forceinline__ void start_output(const Weights& weights, uint32_t values, bool fresh,
                                             Fragment<Columns>& out) {
  const uint64_t b = wgmma_descriptor<true>(values);
  wgmma_fence();
#pragma unroll
  for (uint32_t k = 0; k < 4; ++k) {
    wgmma_weighted(reinterpret_cast<float(&)[Columns / 2]>(out), weights[k], b + k * wgmma_k_step<true>,
                   k > 0 || !fresh);
  }
  wgmma_commit();
}

template <int Columns>
__device__ __forceinline__ void finish_products(Fragment<Columns>& out) {
  wgmma_wait<0>();
  wgmma_settle(reinterpret_cast<float(&)[Columns / 2]>(out));
}

#else

__device__ __forceinline__ void fence_operands() {}

template <int Columns>
__device__ __forceinline__ void clear(Fragment<Columns>& x) {
#pragma unroll
  for (int n = 0; n < Columns / 8; ++n) x[n][0] = x[n][1] = x[n][2] = x[n][3] = 0;
}

template <int D>
__device__ __forceinline__ void start_scores(uint32_t queries, uint32_t keys, Fragment<64>& scores) {
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  clear<64>(scores);
  const SwizzledRow q_row(queries, 16 * warp + lane % 16, lane / 16);
  const SwizzledRow key_row(keys, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    uint32_t q[4];
    load_matrices(q, q_row.at(2 * k));
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      uint32_t b[4];  // keys 16 n .. 16 n + 7: b[0], b[1]; the eight after them: b[2], b[3]
      load_matrices(b, key_row.at(2 * k) + n * 16 * tile_line);
      multiply_add(scores[2 * n], q, b[0], b[1]);
      multiply_add(scores[2 * n + 1], q, b[2], b[3]);
    }
  }
}

template <int Columns>
__device__ __forceinline__ void start_output(const Weights& weights, uint32_t values, bool fresh,
                                             Fragment<Columns>& out) {
  const uint32_t lane = threadIdx.x % 32;
  if (fresh) clear<Columns>(out);
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const SwizzledRow row(values, 16 * step + lane % 16, lane / 16);
#pragma unroll
    for (int n = 0; n < Columns / 16; ++n) {
      uint32_t b[4];  // columns 16 n .. 16 n + 7: b[0], b[1]; the eight after them: b[2], b[3]
      load_transposed(b, row.at(2 * n));
      multiply_add(out[2 * n], weights[step], b[0], b[1]);
      multiply_add(out[2 * n + 1], weights[step], b[2], b[3]);
    }
  }
}

template <int Columns>
__device__ __forceinline__ void finish_products(Fragment<Columns>&) {}

#endif

}  // namespace npr::compute
