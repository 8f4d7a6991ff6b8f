// Linear layers of int8 by AMX: the whole numbers are those of kernel_int8.h, and so is every bit. Included by
// kernels_amx.cc alone, after kernel_amx.h.
#pragma once

namespace npr::compute {
namespace {

// A group of sixteen rows, as tiles.
struct GroupTiles {
  Quant values[group_size / 64][tile_height][64];
  float scales[tile_height];
  int32_t starts[tile_height];
};
static_assert(sizeof(GroupTiles) == tile_height * sizeof(Group));

// Rows of Groups as [row / 16][group] tiles, zeros where there are none.
void arrange_groups(const void* x, uint32_t rows, uint32_t k, void* out) {
  const uint32_t count = groups(k);
  auto* tiles = static_cast<GroupTiles*>(out);
  for (uint32_t r = 0; r < tile_height; ++r) {
    for (uint32_t g = 0; g < count; ++g) {
      const Group group = r < rows ? static_cast<const Group*>(x)[r * size_t{count} + g] : Group{};
      for (uint32_t i = 0; i < group_size / 64; ++i) __builtin_memcpy(tiles[g].values[i][r], group.values + 64 * i, 64);
      tiles[g].scales[r] = group.scale;
      tiles[g].starts[r] = group.start;
    }
  }
}

struct Int8Tiles {
  using Weights = Int8Weights;

  template <int A, int V, bool once = false, class Fetch>
  static void multiply(const LinearTask& t, uint32_t row, const LineBlock& block, const Fetch& fetch, bool stream) {
    constexpr uint32_t group_lines = group_size / Int8Weights::depth;
    static_assert(block_of_lines % group_lines == 0);
    const uint32_t count = groups(t.k), end = block.first + block.lines;
    const uint32_t rows = t.rows - row < A * tile_height ? t.rows - row : A * tile_height;
    const auto* left = static_cast<const GroupTiles*>(t.x) + row / tile_height * size_t{count};
    alignas(64) float finished[A * tile_height][16 * V];
    const bool whole = block.first == 0 && block.last;
    float* const c = whole ? finished[0] : block.sums + row * block.stride;
    const size_t stride = whole ? 16 * V : block.stride;
    for (uint32_t line = block.first; line < end; line += group_lines) {
      const GroupTiles* tiles = left + line / group_lines;
      RightLines<V, once> right;
      for (int v = 0; v < V; ++v) right.line[v] = block.panels + v * block.panel + line * line_bytes;
      const uint32_t step = (line - block.first) / step_lines;
      zero_sums();
      multiply_lines<A, V, Int8Product>(
          {reinterpret_cast<const std::byte*>(tiles->values), 64, count * sizeof(GroupTiles), step_bytes},
          A * tile_height, right, end - line < group_lines ? end - line : group_lines,
          [&](uint32_t i) { fetch(step + i); });
      alignas(64) int32_t sums[A * tile_height][16 * V];
      store_sums<A, V>(sums[0], sizeof sums[0]);
      settle_memory();
      for (uint32_t r = 0; r < rows; ++r) {
        const GroupTiles& of = tiles[r / tile_height * size_t{count}];
        const Vec scale = set1(of.scales[r % tile_height]);
        const __m512i start = _mm512_set1_epi32(of.starts[r % tile_height]);
        for (int v = 0; v < V; ++v) {
          float* at = c + r * stride + 16 * v;
          const IntVec sum{_mm512_add_epi32(_mm512_load_si512(sums[r] + 16 * v), start)};
          store(at, fma(to_float(sum), scale, line ? load(at) : set1(0.0f)));
        }
      }
    }
    if (block.last) write_tiles(t, c, static_cast<uint32_t>(stride), row, block.column, 16 * V, stream);
  }
};

}  // namespace
}  // namespace npr::compute
