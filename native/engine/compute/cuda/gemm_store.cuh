// Sums on their way from registers to memory while the next tile is computed.
//
// Two warps hold 32 rows of A; 32 tokens of them at a time go to shared memory as [token][32 rows], a line of 128 bytes
// a token in the 128-byte swizzle (each thread's four bytes meet a bank of their own), and from there as a box.
#pragma once
#include "compute/cuda/gemm_output.cuh"
#include "compute/cuda/gemm_ptx.cuh"

namespace npr::compute {

constexpr uint32_t store_tokens = 32, store_rows = 32;
constexpr uint32_t store_buffer = store_tokens * store_rows * 4;
// Two buffers for each two warps of two warpgroups.
constexpr uint32_t store_bytes = 4 * 2 * store_buffer;

// `sum`: the thread's fragment of the tile whose first token is `token0` and whose first of this warpgroup pair's rows
// is `row0`, out's row of this warp's first. Called by all computing warps; `staging` is store_bytes of shared memory.
template <int Count, class Output>
__device__ inline void store_fragment(const CUtensorMap& map, const Output& out, uint32_t staging, uint32_t token0,
                                      uint32_t row0, const float (&sum)[Count]) {
  constexpr int batch = Output::batch;
  static_assert(batch == store_tokens / 8 * 4 && Count % batch == 0);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, two = warp / 2;
  const bool leads = warp % 2 == 0 && lane == 0;
  const uint32_t token = token0 + lane % 4 * 2, row = row0 + warp * 16 + lane / 4;
  uint32_t place[2][2];  // [e][h], within eight tokens
#pragma unroll
  for (uint32_t e = 0; e < 2; ++e) {
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t line = lane % 4 * 2 + e, sixteen = warp % 2 * 4 + h * 2 + lane / 16;
      place[e][h] = line * 128 + (sixteen ^ line) * 16 + lane / 4 % 4 * 4;
    }
  }
  float old[2][batch];  // of this batch and of the next
  if (out.add) out.load_old(token, row, 0, old[0]);
#pragma unroll
  for (int first = 0; first < Count; first += batch) {
    const uint32_t round = first / batch, buffer = staging + (two * 2 + round % 2) * store_buffer;
    if (out.add && first + batch < Count) out.load_old(token, row, first + batch, old[(round + 1) % 2]);
    if (leads) {  // for the buffer's last box, of two rounds ago or of the last tile
      if (round) {
        ptx::store_wait_read<1>();
      } else {
        ptx::store_wait_read<0>();
      }
    }
    ptx::named_sync(1 + two, 64);
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const float x = out.add ? __fadd_rn(old[round % 2][i], sum[first + i]) : sum[first + i];
      ptx::store_shared(buffer + i / 4 * 1024 + place[i % 2][i / 2 % 2], x);
    }
    ptx::copy_fence();
    ptx::named_sync(1 + two, 64);
    if (leads) {
      ptx::store_box(map, buffer, row0 + two * store_rows, token0 + round * store_tokens);
      ptx::store_commit();
    }
  }
}

}  // namespace npr::compute
