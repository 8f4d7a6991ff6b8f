// D [tokens, n] fp32 (+)= B [tokens, k] . A [n, k]^T where there are many tiles: a block a multiprocessor, each pair of
// blocks a cluster that takes 256 rows of A by `Tokens` rows of B, whose halves they fetch for each other.
//
// Operands may be K-major or MN-major (gemm_wgmma.cuh): transposed products need no transposed copy.
#pragma once
#include "compute/cuda/gemm_ring.cuh"
#include "compute/cuda/gemm_store.cuh"

namespace npr::compute {

struct PersistentProblem {
  uint32_t k_blocks;   // of 64 reduction elements
  uint32_t parts;      // of K
  uint32_t row_tiles;  // of 256 rows of A
  uint32_t token_tiles;
  uint32_t band;  // token tiles that are walked together
};

constexpr uint32_t pair_rows = 256;

// Bands of token tiles, all row tiles of a band after each other: the clusters that run at a time make up about a
// square, so that L2 holds what they read.
struct TileAt {
  uint32_t row_tile, token_tile;
  __device__ TileAt(const PersistentProblem& p, uint32_t tile) {
    const uint32_t first = tile / (p.band * p.row_tiles) * p.band, inside = tile % (p.band * p.row_tiles);
    const uint32_t width = p.token_tiles - first < p.band ? p.token_tiles - first : p.band;
    row_tile = inside / width;
    token_tile = first + inside % width;
  }
};

// Parts of K are added up in registers, which up to 192 tokens there are enough of; else there is one part.
template <class Shape>
constexpr bool adds_parts = Shape::Tokens <= 192;

// A whole warpgroup is there for the copies: of 168 registers a thread it keeps 40, the others get 232 each.
template <class Shape>
constexpr uint32_t persistent_threads = Shape::computing + 128;

template <class Shape, bool MnA, bool MnB, class Output>
__global__ __launch_bounds__(persistent_threads<Shape>, 1) void gemm_persistent(const __grid_constant__ CUtensorMap a,
                                                                                const __grid_constant__ CUtensorMap b,
                                                                                const __grid_constant__ CUtensorMap d,
                                                                                PersistentProblem problem, Output out) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  static_assert(Shape::Groups == 2 && Shape::OutBytes == store_bytes);
  constexpr uint32_t pair = 2, half = Shape::Tokens / pair;
  extern __shared__ uint8_t shared[];
  const Ring<Shape> ring(shared);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, rank = ptx::cluster_rank();
  const uint32_t tiles = problem.row_tiles * problem.token_tiles, stride = gridDim.x / pair;

  if (threadIdx.x == 0) ring.init(pair);
  ptx::cluster_sync();

  if (warp >= Shape::Groups * 4) {
    ptx::registers_give<40>();
    if (warp == Shape::Groups * 4 && lane == 0) {
      ptx::prefetch_map(a);
      ptx::prefetch_map(b);
      if (out.in_fours) ptx::prefetch_map(d);
      Cursor<Shape> cursor;
      for (uint32_t tile = blockIdx.x / pair; tile < tiles; tile += stride) {
        const TileAt at(problem, tile);
        const uint32_t row0 = at.row_tile * pair_rows + rank * 128,
                       token0 = at.token_tile * Shape::Tokens + rank * half;
        for (uint32_t block = 0; block < problem.k_blocks; ++block, cursor.next()) {
          const uint32_t s = cursor.stage, k = block * k_block;
          ptx::barrier_wait(ring.empty(s), cursor.parity ^ 1);
          ptx::barrier_expect(ring.full(s), Shape::stage_bytes);
          load_rows<MnA, 128>(ring.a(s), a, ring.full(s), row0, k, ptx::Cache::normal);
          load_rows<MnB, half>(ring.b(s) + rank * half * 128, b, ring.full(s), token0, k, ptx::Cache::normal, 3);
          // What the tile will be added to is in L2 when it is asked for: a strip of 32 tokens at each of the last
          // blocks.
          if (const uint32_t left = problem.k_blocks - 1 - block;
              out.add && out.in_fours && left < Shape::Tokens / store_tokens) {
            for (uint32_t i = 0; i < 128 / store_rows; ++i) {
              ptx::prefetch_box(
                  d, row0 + i * store_rows,
                  at.token_tile * Shape::Tokens + (Shape::Tokens / store_tokens - 1 - left) * store_tokens);
            }
          }
        }
      }
    }
    __syncwarp();
  } else {
    ptx::registers_get<232>();
    Cursor<Shape> cursor;
    for (uint32_t tile = blockIdx.x / pair; tile < tiles; tile += stride) {
      const TileAt at(problem, tile);
      const uint32_t row0 = at.row_tile * pair_rows + rank * 128, token0 = at.token_tile * Shape::Tokens;
      const auto depth = [&](uint32_t part) {
        return part_begin(problem.k_blocks, problem.parts, part + 1) -
               part_begin(problem.k_blocks, problem.parts, part);
      };
      float total[Shape::Tokens / 2];
      accumulate<Shape, MnA, MnB, pair>(total, ring, cursor, depth(0));
      if constexpr (adds_parts<Shape>) {
        for (uint32_t part = 1; part < problem.parts; ++part) {
          float sum[Shape::Tokens / 2];
          accumulate<Shape, MnA, MnB, pair>(sum, ring, cursor, depth(part));
#pragma unroll
          for (uint32_t i = 0; i < Shape::Tokens / 2; ++i) total[i] = __fadd_rn(total[i], sum[i]);
        }
      }
      if (out.in_fours) {
        store_fragment(d, out, ring.out(), token0, row0, total);
      } else {  // lines that no box can have
        out.fragment(token0 + lane % 4 * 2, row0 + warp * 16 + lane / 4, total);
      }
    }
    ptx::store_wait();
  }
  ptx::cluster_sync();  // nobody leaves while the other still sends to it
#else
  __trap();  // chosen by the host where this was compiled for sm_90a
#endif
}

}  // namespace npr::compute
