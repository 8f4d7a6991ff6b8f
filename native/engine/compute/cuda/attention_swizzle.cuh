// Tiles of bf16 in shared memory, in rows of 16-byte pieces: a piece lies where its index has been XORed with its
// row's, modulo 8, so that the same piece of eight neighbouring rows is in different banks.
#pragma once
#include <cstdint>

namespace npr::compute {

// The byte where a piece lies in a tile of rows of D elements.
template <int D>
__device__ inline uint32_t swizzled(uint32_t row, uint32_t piece) {
  return row * (2 * D) + ((piece ^ (row & 7)) << 4);
}

// The same for one row and pieces first + even, of which `even` is a constant of no common bits with `first`: most of
// an address is then the instruction's own offset.
template <int D>
struct SwizzledRow {
  uint32_t start, mix;

  __device__ SwizzledRow(uint32_t tile, uint32_t row, uint32_t first)
      : start(tile + row * (2 * D) + (first & ~7u) * 16), mix(((first ^ row) & 7) * 16) {}
  __device__ uint32_t at(uint32_t even) const { return start + (even & ~7u) * 16 + (((even & 7) * 16) ^ mix); }
};

}  // namespace npr::compute
