// How the blocks of a cluster add up their parts of K, in order: every parts-th token of the tile is a block's to add.
//
// Small tiles are pushed: each sum goes from its registers to the block that adds it, whose barrier counts the bytes.
// Large ones, for which there is no landing place, stay in the shared memory of the ring and are pulled from there;
// that takes a fence of the device and a way back.
#pragma once
#include "compute/cuda/gemm_ring.cuh"

namespace npr::compute {

__device__ inline float4 added(const float4& a, const float4& b) {
  return {__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z), __fadd_rn(a.w, b.w)};
}

// Of a block: [part][token][rows of A], and the barrier that tells when all of it is there.
template <int Groups, int Tokens>
struct Landing {
  static constexpr uint32_t rows = Groups * wgmma_m, line = rows * 4;
  static constexpr uint32_t most_lines = Tokens + 2;  // parts times tokens, rounded up, of up to four parts
  static constexpr uint32_t bytes = most_lines * line + 8;

  uint32_t base, part, parts, reciprocal;  // of parts, in units of 2^-16

  __device__ Landing(uint32_t base, uint32_t part, uint32_t parts)
      : base(base), part(part), parts(parts), reciprocal((65535 + parts) / parts) {}
  __device__ uint32_t landed() const { return base + most_lines * line; }
  __device__ uint32_t of_part(uint32_t p) const { return base + p * ((Tokens + parts - 1) / parts) * line; }
  // Of the tile's first `valid` tokens, those that are this block's to add.
  __device__ uint32_t tokens(uint32_t valid) const { return (valid + parts - 1 - part) / parts; }

  // By one thread; the cluster must have met before the first push.
  __device__ void init(uint32_t valid) const {
    ptx::barrier_init(landed(), 1);
    ptx::barrier_expect(landed(), parts * tokens(valid) * line);
  }
  // The thread's fragment, D's (gemm_wgmma.cuh), by all computing threads; returns when what is this block's to add is
  // there.
  __device__ void exchange(const float (&sum)[Tokens / 2], uint32_t valid) const {
    const uint32_t lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4, to = of_part(part) + row * 4;
#pragma unroll
    for (uint32_t i = 0; i < Tokens / 2; ++i) {
      const uint32_t token = i / 4 * 8 + lane % 4 * 2 + i % 2, turn = token * reciprocal >> 16;
      const uint32_t at = to + turn * line + i / 2 % 2 * 32;
      if (token >= valid) continue;
      if (parts == 1) {
        ptx::store_shared(at, sum[i]);
      } else {
        ptx::push(at, landed(), token - turn * parts, sum[i]);
      }
    }
    if (parts == 1) {
      ptx::named_sync(1, Groups * 128);
    } else {
      ptx::barrier_wait_cluster(landed(), 0);
    }
  }
  __device__ float4 total(uint32_t token, uint32_t row) const {
    float4 total = ptx::load_shared(of_part(0) + token * line + row * 4);
    for (uint32_t p = 1; p < parts; ++p) {
      total = added(total, ptx::load_shared(of_part(p) + token * line + row * 4));
    }
    return total;
  }
};

// In the ring of each block, once it is done with: [token][rows of A + 4], which keeps the fragments' eight rows by
// four tokens in different banks.
template <int Groups, int Tokens>
struct Heap {
  static constexpr uint32_t rows = Groups * wgmma_m, line = rows * 4 + 16, bytes = Tokens * line;

  uint32_t base, part, parts;

  // The thread's fragment, by all computing threads, when the ring is read to its end by all.
  __device__ void put(const float (&sum)[Tokens / 2]) const {
    const uint32_t lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
    for (uint32_t i = 0; i < Tokens / 2; ++i) {
      ptx::store_shared(base + (lane % 4 * 2 + i / 4 * 8 + i % 2) * line + row * 4 + i / 2 % 2 * 32, sum[i]);
    }
  }
  __device__ uint32_t tokens() const { return (Tokens - part + parts - 1) / parts; }
  __device__ float4 total(uint32_t token, uint32_t row) const {
    const uint32_t address = base + (token * parts + part) * line + row * 4;
    float4 sums[most_parts];  // all on their way at once
#pragma unroll
    for (uint32_t p = 0; p < most_parts; ++p) {
      if (p < parts) sums[p] = ptx::load_from(address, p);
    }
    float4 total = sums[0];
#pragma unroll
    for (uint32_t p = 1; p < most_parts; ++p) {
      if (p < parts) total = added(total, sums[p]);
    }
    return total;
  }
};

}  // namespace npr::compute
