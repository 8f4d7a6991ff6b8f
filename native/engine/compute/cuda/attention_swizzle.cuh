// Tiles [64 rows][D] of bf16 in shared memory: panels of 64 columns, [64 rows][128 bytes] each, in which a piece of 16
// bytes lies where its index has been XORed with its row's, modulo 8. That is the 128-byte swizzle of the matrix
// instruction of sm_90a, and puts the same piece of eight neighbouring rows into different banks. Tiles begin at
// multiples of 1024 bytes.
#pragma once
#include <cstdint>

namespace npr::compute {

constexpr uint32_t tile_line = 128, tile_panel = 64 * tile_line;

// The byte where a piece lies in a tile.
__device__ inline uint32_t swizzled(uint32_t row, uint32_t piece) {
  return piece / 8 * tile_panel + row * tile_line + ((piece ^ row) % 8 << 4);
}

// The same for one row and pieces first + even, of which `even` is a constant of no common bits with `first`: most of
// an address is then the instruction's own offset.
struct SwizzledRow {
  uint32_t start, mix;

  __device__ SwizzledRow(uint32_t tile, uint32_t row, uint32_t first)
      : start(tile + first / 8 * tile_panel + row * tile_line), mix((first ^ row) % 8 * 16) {}
  __device__ uint32_t at(uint32_t even) const { return start + even / 8 * tile_panel + ((even % 8 * 16) ^ mix); }
};

}  // namespace npr::compute
