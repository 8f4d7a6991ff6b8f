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
// Of `Buffers` for each two warps of two warpgroups.
template <uint32_t Buffers>
constexpr uint32_t store_bytes = 4 * Buffers * store_buffer;

// `sum`: the thread's fragment of the tile whose first token is `token0` and whose first of this warpgroup pair's rows
// is `row0`, out's row of this warp's first. Called by all computing warps; `staging` is store_bytes<Buffers> of shared
// memory. With as many buffers as the tile has rounds, nothing waits for memory.
template <uint32_t Buffers, int Count, class Output>
__device__ inline void store_fragment(const CUtensorMap& map, const Output& out, uint32_t staging, uint32_t token0,
                                      uint32_t row0, const float (&sum)[Count]) {
  constexpr int batch = Output::batch, rounds = Count / batch;
  // What is added to is asked for as early as there are registers for it.
  constexpr int ahead = rounds < 6 ? 7 - rounds : 1;
  static_assert(rounds >= 4);
  static_assert(batch == store_tokens / 8 * 4 && Count % batch == 0);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, two = warp / 2;
  const bool leads = warp % 2 == 0 && lane == 0;
  auto corner = out.corner(token0 + lane % 4 * 2, row0 + warp * 16 + lane / 4);
  uint32_t place[2][2];  // [e][h], within eight tokens
#pragma unroll
  for (uint32_t e = 0; e < 2; ++e) {
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t line = lane % 4 * 2 + e, sixteen = warp % 2 * 4 + h * 2 + lane / 16;
      place[e][h] = line * 128 + (sixteen ^ line) * 16 + lane / 4 % 4 * 4;
    }
  }
  float old[ahead + 1][batch];
  const auto load_old = [&](int round) {
    out.load_old(corner, old[round % (ahead + 1)]);
    corner = out.next(corner);
  };
  if (out.add) {
#pragma unroll
    for (int round = 0; round < ahead; ++round) load_old(round);
  }
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const uint32_t buffer = staging + (two * Buffers + static_cast<uint32_t>(round) % Buffers) * store_buffer;
    if (out.add && round + ahead < rounds) load_old(round + ahead);
    if (round == 0 || round >= static_cast<int>(Buffers)) {
      if (leads) {  // for the boxes of the last tile, or the buffer's last
        if (round == 0) {
          ptx::store_wait_read<0>();
        } else {
          ptx::store_wait_read<Buffers - 1>();
        }
      }
      ptx::named_sync(1 + two, 64);
    }
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const float x = sum[round * batch + i];
      ptx::store_shared(buffer + i / 4 * 1024 + place[i % 2][i / 2 % 2],
                        out.add ? __fadd_rn(old[round % (ahead + 1)][i], x) : x);
    }
    ptx::copy_fence();
    ptx::named_sync(1 + two, 64);
    if (leads) {
      ptx::store_box(map, buffer, row0 + two * store_rows, token0 + static_cast<uint32_t>(round) * store_tokens);
      ptx::store_commit();
    }
  }
}

}  // namespace npr::compute
