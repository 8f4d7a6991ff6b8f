// The ring of stages between the copies of a block and its matrix instructions.
//
// A block has `Groups` warpgroups that compute, 64 rows of A (weights) each by all `Tokens` rows of B, and a warp after
// them, a lane of which starts the copies. A stage holds a tile of both operands, 64 reduction elements of each row.
#pragma once
#include "compute/cuda/gemm_ptx.cuh"
#include "compute/cuda/gemm_wgmma.cuh"

namespace npr::compute {

template <int Groups_, int Tokens_, int Stages_, uint32_t OutBytes_ = 0>
struct GemmShape {
  static constexpr int Groups = Groups_, Tokens = Tokens_, Stages = Stages_;
  static constexpr uint32_t computing = Groups * 128;  // threads
  static constexpr uint32_t a_bytes = Groups * panel_bytes, b_bytes = Tokens * 128, stage_bytes = a_bytes + b_bytes;
  // Stages, what sums go through on their way out, two barriers a stage, and what it takes to align all that to an
  // atom.
  static constexpr uint32_t OutBytes = OutBytes_;
  static constexpr uint32_t shared_bytes = Stages * (stage_bytes + 16) + OutBytes + atom_bytes;
};

template <class Shape>
struct Ring {
  uint32_t base;  // shared address, the same in every block of a cluster

  __device__ explicit Ring(const void* shared)
      : base((ptx::shared_address(shared) + atom_bytes - 1) & ~(atom_bytes - 1)) {}
  __device__ uint32_t a(uint32_t stage) const { return base + stage * Shape::stage_bytes; }
  __device__ uint32_t b(uint32_t stage) const { return a(stage) + Shape::a_bytes; }
  __device__ uint32_t out() const { return base + Shape::Stages * Shape::stage_bytes; }
  __device__ uint32_t full(uint32_t stage) const { return out() + Shape::OutBytes + stage * 8; }
  __device__ uint32_t empty(uint32_t stage) const { return full(stage) + Shape::Stages * 8; }

  // By one thread. `blocks` of the cluster share stages: a stage is empty when the warps of all of them have left it.
  __device__ void init(uint32_t blocks) const {
    for (uint32_t s = 0; s < Shape::Stages; ++s) {
      ptx::barrier_init(full(s), 1);
      ptx::barrier_init(empty(s), Shape::Groups * 4 * blocks);
    }
    ptx::barrier_init_fence();
  }
};

// Where in the ring, and the parity of this round through it.
template <class Shape>
struct Cursor {
  uint32_t stage = 0, parity = 0;
  __device__ void next() {
    if (++stage == Shape::Stages) stage = 0, parity ^= 1;
  }
};

// `Rows` rows from `row`, reduction elements from `k`, of an operand; the map's box is [Rows][64 k] or [64 k][64 rows].
// To all blocks of `mask`, where it isn't 0.
template <bool MnMajor, uint32_t Rows>
__device__ inline void load_rows(uint32_t to, const CUtensorMap& map, uint32_t barrier, uint32_t row, uint32_t k,
                                 ptx::Cache cache, uint16_t mask = 0) {
  constexpr uint32_t boxes = MnMajor ? Rows / 64 : 1;
#pragma unroll
  for (uint32_t i = 0; i < boxes; ++i) {
    const uint32_t at = to + i * panel_bytes;
    const uint32_t column = MnMajor ? row + i * 64 : k, line = MnMajor ? k : row;
    if (mask) {
      ptx::load_box_to(mask, at, map, barrier, column, line, cache);
    } else {
      ptx::load_box(at, map, barrier, column, line, cache);
    }
  }
}

// sum = the products of the ring's next `count` stages, k in order. A stage is released to `Blocks` blocks when the
// instructions that read it are done; those of one stage run while the next is issued.
template <class Shape, bool MnA, bool MnB, uint32_t Blocks>
__device__ inline void accumulate(float (&sum)[Shape::Tokens / 2], const Ring<Shape>& ring, Cursor<Shape>& cursor,
                                  uint32_t count) {
  const uint32_t group = threadIdx.x / 128, lane = threadIdx.x % 32;
  const auto release = [&](uint32_t stage) {
    if constexpr (Blocks == 1) {
      if (lane == 0) ptx::barrier_arrive(ring.empty(stage));
    } else {
      if (lane < Blocks) ptx::barrier_arrive_at(ring.empty(stage), lane);
    }
  };
  uint32_t previous = 0;
  for (uint32_t block = 0; block < count; ++block) {
    ptx::barrier_wait(ring.full(cursor.stage), cursor.parity);
    const uint64_t a = wgmma_descriptor<MnA>(ring.a(cursor.stage) + group * panel_bytes);
    const uint64_t b = wgmma_descriptor<MnB>(ring.b(cursor.stage));
    wgmma_fence();
#pragma unroll
    for (uint32_t step = 0; step < k_block / 16; ++step) {
      wgmma<Shape::Tokens, MnA, MnB>(sum, a + step * wgmma_k_step<MnA>, b + step * wgmma_k_step<MnB>, block | step);
    }
    wgmma_commit();
    wgmma_wait<1>();
    if (block > 0) release(previous);
    previous = cursor.stage;
    cursor.next();
  }
  wgmma_wait<0>();
  wgmma_settle(sum);
  release(previous);
}

constexpr uint32_t most_parts = 4;

// Part `part` of `parts` begins at this block of 64 reduction elements. The parts' sums are added in order of parts:
// that is what an output is, whichever kernel computes it.
__device__ inline uint32_t part_begin(uint32_t k_blocks, uint32_t parts, uint32_t part) {
  return k_blocks * part / parts;
}

}  // namespace npr::compute
