// out [tokens, n] (+)= x [tokens, k] . w [n, k]^T where there are too few tiles to fill the device: as many blocks as K
// has parts are a cluster, each sums its part, and they add up (gemm_parts.cuh).
//
// A launch may start before what precedes it has ended: weights are fetched at once, everything else waits. Weights
// must therefore have been written before the launch was queued.
#pragma once
#include "compute/cuda/gemm_parts.cuh"

namespace npr::compute {

struct SplitProblem {
  uint32_t k_blocks;     // of 64 reduction elements
  uint32_t token_tiles;  // consecutive clusters share a tile of weights
};

template <class Shape>
constexpr uint32_t split_threads = Shape::computing + 32;

// Blocks a multiprocessor that shared memory allows, for the compiler to fit registers to.
template <class Shape>
constexpr int split_blocks = Shape::shared_bytes > 113 * 1024  ? 1
                             : Shape::shared_bytes > 75 * 1024 ? 2
                                                               : 3;

// Grid: parts * token tiles * tiles of 64 * Groups weights; cluster: the parts, 1 to 4.
template <class Shape, class Output>
__global__ __launch_bounds__(split_threads<Shape>,
                             split_blocks<Shape>) void gemm_split(const __grid_constant__ CUtensorMap weights,
                                                                  const __grid_constant__ CUtensorMap x,
                                                                  SplitProblem problem, Output out) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr uint32_t rows = Shape::Groups * 64, Tokens = Shape::Tokens, Stages = Shape::Stages;
  extern __shared__ uint8_t shared[];
  const Ring<Shape> ring(shared);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t part = ptx::cluster_rank(), parts = ptx::cluster_size(), tile = blockIdx.x / parts;
  const uint32_t token0 = tile % problem.token_tiles * Tokens, row0 = tile / problem.token_tiles * rows;
  const uint32_t begin = part_begin(problem.k_blocks, parts, part);
  const uint32_t count = part_begin(problem.k_blocks, parts, part + 1) - begin;

  constexpr bool pushes = Shape::OutBytes != 0;
  const Landing<Shape::Groups, Tokens> landing(ring.out(), part, parts);
  const Heap<Shape::Groups, Tokens> heap{ring.base, part, parts};
  static_assert(heap.bytes <= Stages * Shape::stage_bytes && (!pushes || landing.bytes <= Shape::OutBytes));
  const uint32_t valid = out.tokens - token0 < Tokens ? out.tokens - token0 : Tokens;
  // The token `i` of this block's, and the sum of its columns from `row` on.
  const auto put = [&](const auto& sums, uint32_t count) {
    constexpr uint32_t fours = rows / 4;
    for (uint32_t i = threadIdx.x; i < count * fours; i += Shape::computing) {
      const uint32_t token = i / fours, row = i % fours * 4;
      out.four(token0 + token * parts + part, row0 + row, sums.total(token, row));
    }
  };

  if (threadIdx.x == 0) {
    if constexpr (pushes) landing.init(valid);
    ring.init(1);
  }
  __syncthreads();
  if (pushes && parts > 1) ptx::cluster_arrive();
  ptx::launch_dependents();

  if (warp == Shape::Groups * 4) {
    if (lane == 0) {
      ptx::prefetch_map(weights);
      ptx::prefetch_map(x);
      // With one tile of tokens the weights are read once, the tokens by every cluster.
      const bool one = problem.token_tiles == 1;
      const ptx::Cache once = one ? ptx::Cache::first_out : ptx::Cache::normal;
      const ptx::Cache often = one ? ptx::Cache::last_out : ptx::Cache::normal;
      const auto load_weights = [&](uint32_t stage, uint32_t block) {
        ptx::barrier_expect(ring.full(stage), Shape::stage_bytes);
        load_rows<false, rows>(ring.a(stage), weights, ring.full(stage), row0, (begin + block) * k_block, once);
      };
      const auto load_x = [&](uint32_t stage, uint32_t block) {
        load_rows<false, Tokens>(ring.b(stage), x, ring.full(stage), token0, (begin + block) * k_block, often);
      };
      const uint32_t ahead = count < Stages ? count : Stages;
      for (uint32_t b = 0; b < ahead; ++b) load_weights(b, b);
      ptx::wait_for_dependencies();
      for (uint32_t b = 0; b < ahead; ++b) load_x(b, b);
      Cursor<Shape> cursor;
      for (uint32_t b = Stages; b < count; ++b, cursor.next()) {
        ptx::barrier_wait(ring.empty(cursor.stage), cursor.parity);
        load_weights(cursor.stage, b);
        load_x(cursor.stage, b);
      }
    }
    __syncwarp();
    if (pushes && parts > 1) ptx::cluster_wait();
  } else {
    if (pushes && parts > 1) ptx::cluster_wait();  // long before it could hold anything up
    float sum[Tokens / 2];
    Cursor<Shape> cursor;
    accumulate<Shape, false, false, 1>(sum, ring, cursor, count);
    if constexpr (pushes) {
      landing.exchange(sum, valid);
    } else {
      ptx::named_sync(1, Shape::computing);
      heap.put(sum);
      if (parts == 1) ptx::named_sync(1, Shape::computing);
    }
    ptx::wait_for_dependencies();  // before `out` is touched
    if constexpr (pushes) put(landing, landing.tokens(valid));
  }
  if constexpr (!pushes) {
    if (parts > 1) ptx::cluster_sync();
    if (warp < Shape::Groups * 4) put(heap, heap.tokens());
    if (parts > 1) {  // nobody leaves while others read its sums
      ptx::cluster_arrive();
      ptx::cluster_wait();
    }
  }
#else
  __trap();  // chosen by the host where this was compiled for sm_90a
#endif
}

}  // namespace npr::compute
