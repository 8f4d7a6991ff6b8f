// AMX's instructions in software, in place of the engine's header of this name: they compute to the bit what Intel's
// manual says (volume 2, TDPBF16PS and TDPBSUD), and end the process where a machine would fault. Not seen here: stores
// that a compiler moves beyond a tile's load (settle_memory()), the permission that a process needs, and time.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace npr::compute {
namespace {

constexpr size_t tile_count = 8, tile_most_rows = 16, tile_most_bytes = 64;

struct TileState {
  bool in_use = false;
  struct {
    size_t rows, bytes;  // of a row
  } shapes[tile_count];
  alignas(64) unsigned char tiles[tile_count][tile_most_rows][tile_most_bytes];
};
thread_local TileState tile_state;

inline void expect_tiles(bool holds, const char* otherwise) {
  if (holds) return;
  std::fprintf(stderr, "AMX in software: %s\n", otherwise);
  std::abort();
}

// Of a shape's 64 bytes: the palette, the first row, fourteen reserved, sixteen words of bytes a row, sixteen bytes of
// rows.
inline void use_tiles(const void* shape) {
  unsigned char bytes[64];
  std::memcpy(bytes, shape, sizeof bytes);
  expect_tiles(bytes[0] == 1, "expected palette 1");
  for (size_t i = 1; i < 16; ++i) expect_tiles(bytes[i] == 0, "expected zeros for the first row and what is reserved");
  for (size_t i = 0; i < 16; ++i) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, bytes + 16 + 2 * i, sizeof row_bytes);
    const size_t rows = bytes[48 + i];
    expect_tiles((rows == 0) == (row_bytes == 0), "a tile of rows without bytes, or of bytes without rows");
    expect_tiles(rows == 0 || i < tile_count, "more tiles than there are");
    expect_tiles(rows <= tile_most_rows && row_bytes <= tile_most_bytes, "a larger tile than there can be");
    if (i < tile_count) tile_state.shapes[i] = {rows, row_bytes};
  }
  tile_state.in_use = true;
  std::memset(tile_state.tiles, 0, sizeof tile_state.tiles);
}
inline void release_tiles() { tile_state.in_use = false; }

struct Tile {
  unsigned char (*row)[tile_most_bytes];
  size_t rows, bytes;
};
inline Tile tile_of(int tile) {
  const auto& shape = tile_state.shapes[tile];
  expect_tiles(tile_state.in_use && shape.rows, "a tile without a shape");
  return {tile_state.tiles[tile], shape.rows, shape.bytes};
}

template <int tile>
inline void zero_tile() {
  const Tile t = tile_of(tile);
  std::memset(t.row, 0, sizeof tile_state.tiles[tile]);
}
template <int tile>
inline void load_tile(const void* rows, size_t stride) {
  zero_tile<tile>();
  const Tile t = tile_of(tile);
  for (size_t r = 0; r < t.rows; ++r) std::memcpy(t.row[r], static_cast<const char*>(rows) + r * stride, t.bytes);
}
template <int tile>
inline void load_tile_once(const void* rows, size_t stride) {
  load_tile<tile>(rows, stride);
}
template <int tile>
inline void store_tile(void* rows, size_t stride) {
  const Tile t = tile_of(tile);
  for (size_t r = 0; r < t.rows; ++r) std::memcpy(static_cast<char*>(rows) + r * stride, t.row[r], t.bytes);
}

inline void check_product(const Tile& sum, const Tile& left, const Tile& right) {
  expect_tiles(sum.row != left.row && sum.row != right.row && left.row != right.row, "a product of a tile with itself");
  expect_tiles(sum.bytes % 4 == 0 && left.bytes % 4 == 0, "a product of tiles whose rows are no whole words");
  expect_tiles(sum.rows == left.rows && sum.bytes == right.bytes && left.bytes == 4 * right.rows,
               "a product of tiles whose shapes do not fit");
}

// Even and odd elements have sums of their own, which are added up at the end; subnormals count as zero.
template <int sum, int left, int right>
inline void add_bf16_product() {
  const Tile c = tile_of(sum), a = tile_of(left), b = tile_of(right);
  check_product(c, a, b);
  const unsigned before = _mm_getcsr();
  _mm_setcsr(0x1f80 | 0x8000 | 0x40);  // nothing raised, rounded to nearest, flushed to zero, denormals are zeros
  asm volatile("" ::: "memory");
  for (size_t m = 0; m < c.rows; ++m) {
    __m512 even = _mm512_setzero_ps(), odd = even;
    for (size_t k = 0; k < b.rows; ++k) {
      uint32_t pair;
      std::memcpy(&pair, a.row[m] + 4 * k, 4);
      const __m512i line = _mm512_load_si512(b.row[k]), upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
      const auto broadcast = [](uint32_t bits) {
        return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits)));
      };
      even = _mm512_fmadd_ps(broadcast(pair << 16), _mm512_castsi512_ps(_mm512_slli_epi32(line, 16)), even);
      odd = _mm512_fmadd_ps(broadcast(pair & 0xffff0000u), _mm512_castsi512_ps(_mm512_and_si512(line, upper)), odd);
    }
    _mm512_store_ps(c.row[m], _mm512_add_ps(_mm512_load_ps(c.row[m]), _mm512_add_ps(even, odd)));
  }
  asm volatile("" ::: "memory");
  _mm_setcsr(before);
}

template <int sum, int left, int right>
inline void add_int8_product() {
  const Tile c = tile_of(sum), a = tile_of(left), b = tile_of(right);
  check_product(c, a, b);
  for (size_t m = 0; m < c.rows; ++m) {
    int32_t words[tile_most_bytes / 4];
    std::memcpy(words, c.row[m], sizeof words);
    for (size_t k = 0; k < 4 * b.rows; ++k) {
      const auto x = static_cast<signed char>(a.row[m][k]);
      for (size_t n = 0; n < b.bytes / 4; ++n) words[n] += x * b.row[k / 4][4 * n + k % 4];
    }
    std::memcpy(c.row[m], words, sizeof words);
  }
}

}  // namespace
}  // namespace npr::compute
