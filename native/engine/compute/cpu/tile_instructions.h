// AMX's instructions. As assembly, since the intrinsics take a tile's number as text, which a template's argument is
// not; loads don't say which memory they read. Included by kernels_amx.cc alone. Tests have these in software.
#pragma once
#include <cstddef>

namespace npr::compute {
namespace {

// shape: 64 bytes, see TileShape.
inline void use_tiles(const void* shape) {
  asm volatile("ldtilecfg %0" ::"m"(*static_cast<const unsigned char(*)[64]>(shape)));
}
inline void release_tiles() { asm volatile("tilerelease"); }

template <int tile>
inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}
// Rows of memory `stride` bytes apart.
template <int tile>
inline void load_tile(const void* rows, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(tile));
}
// Of memory that nothing reads again soon, so that it need not push the rest out of L1.
template <int tile>
inline void load_tile_once(const void* rows, size_t stride) {
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(tile));
}
template <int tile>
inline void store_tile(void* rows, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "i"(tile) : "memory");
}

// sum += left . right, of pairs of bf16 along k to floats,
template <int sum, int left, int right>
inline void add_bf16_product() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}
// or of fours of int8 by uint8 to whole numbers.
template <int sum, int left, int right>
inline void add_int8_product() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sum), "i"(left), "i"(right));
}

}  // namespace
}  // namespace npr::compute
