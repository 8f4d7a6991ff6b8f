// Linear layers by AMX, whose tiles hold sixteen rows of 64 bytes. Included by kernels_amx.cc alone, after
// kernel_linear.h.
//
// Bits: an element of a tile's product is the sum of its own row's and column's pairs, in order; which other rows are
// in the tile does not enter. Subnormal operands and sums count as zero.
#pragma once

namespace npr::compute {
namespace {

constexpr uint32_t tile_height = 16;
constexpr uint32_t step_lines = 16;  // of a panel, in one tile: 32 elements of k
constexpr size_t step_bytes = step_lines * line_bytes;
// Lines of a panel that are multiplied by all rows before the next: of two panels they stay in L1 beside the rows.
constexpr uint32_t block_of_lines = 256;

// The intrinsics are assembly that does not say which memory it reads.
inline void settle_memory() { asm volatile("" ::: "memory"); }

// Tiles 0 to 3 are sums, 4 and 5 rows of x, 6 and 7 parts of panels. Loading a shape takes as long as five steps.
class Shape {
 public:
  // Sums and rows of one height, or of two in turns.
  void require(uint32_t first_rows, uint32_t second_rows) {
    if (first_rows == first_ && second_rows == second_) return;
    first_ = first_rows;
    second_ = second_rows;
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {};
    } shape;
    for (int i = 0; i < 6; ++i) shape.rows[i] = static_cast<uint8_t>(i % 2 && second_rows ? second_rows : first_rows);
    shape.rows[6] = shape.rows[7] = step_lines;
    settle_memory();
    _tile_loadconfig(&shape);
  }

 private:
  uint32_t first_ = 0, second_ = 0;
};

// Sum (tile of rows a, panel v) is tile a + A v. The next lines of the panels are at `panels`, `panel` bytes apart.
template <int A, int V>
inline void multiply_step(const bf16* x, size_t x_bytes, const std::byte* panels, size_t panel) {
  _tile_loadd(4, x, x_bytes);
  if constexpr (A == 2) _tile_loadd(5, reinterpret_cast<const std::byte*>(x) + tile_height * x_bytes, x_bytes);
  _tile_loadd(6, panels, line_bytes);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (A == 2) _tile_dpbf16ps(1, 5, 6);
  if constexpr (V > 1) {
    _tile_loadd(7, panels + panel, line_bytes);
    if constexpr (A == 2) {
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    } else {
      _tile_dpbf16ps(1, 4, 7);
    }
  }
  if constexpr (V > 2) {
    _tile_loadd(6, panels + 2 * panel, line_bytes);
    _tile_dpbf16ps(2, 4, 6);
  }
  if constexpr (V > 3) {
    _tile_loadd(7, panels + 3 * panel, line_bytes);
    _tile_dpbf16ps(3, 4, 7);
  }
}

// The last elements of k, fewer than a step: both sides padded with zeros.
template <int A, int V>
inline void multiply_rest(const bf16* x, size_t x_bytes, uint32_t rows, const std::byte* panels, size_t panel,
                          uint32_t lines) {
  alignas(64) std::byte left[A * tile_height][64] = {}, right[V * step_bytes] = {};
  for (uint32_t r = 0; r < rows; ++r) {
    __builtin_memcpy(left[r], reinterpret_cast<const std::byte*>(x) + r * x_bytes, lines * 2 * sizeof(bf16));
  }
  for (int v = 0; v < V; ++v) __builtin_memcpy(right + v * step_bytes, panels + v * panel, lines * line_bytes);
  settle_memory();
  multiply_step<A, V>(reinterpret_cast<const bf16*>(left), 64, right, step_bytes);
}

template <int A, int V>
inline void load_sums(const float* c, size_t row_bytes) {
  const auto* at = reinterpret_cast<const std::byte*>(c);
  const size_t below = tile_height * row_bytes;
  _tile_loadd(0, at, row_bytes);
  if constexpr (A * V > 1) _tile_loadd(1, at + (A == 2 ? below : 64), row_bytes);
  if constexpr (A * V > 2) _tile_loadd(2, at + (A == 2 ? 64 : 128), row_bytes);
  if constexpr (A * V > 3) _tile_loadd(3, at + (A == 2 ? below + 64 : 192), row_bytes);
}
template <int A, int V>
inline void store_sums(float* c, size_t row_bytes) {
  auto* at = reinterpret_cast<std::byte*>(c);
  const size_t below = tile_height * row_bytes;
  _tile_stored(0, at, row_bytes);
  if constexpr (A * V > 1) _tile_stored(1, at + (A == 2 ? below : 64), row_bytes);
  if constexpr (A * V > 2) _tile_stored(2, at + (A == 2 ? 64 : 128), row_bytes);
  if constexpr (A * V > 3) _tile_stored(3, at + (A == 2 ? below + 64 : 192), row_bytes);
}

// A stretch of the panels' lines, and what follows it: the same stretch of other panels, or the next of these.
struct LineBlock {
  const std::byte* panels;
  size_t panel;            // bytes
  uint32_t first, lines;   // `first` counts whole steps
  const std::byte* ahead;  // to be fetched, like `panels` at line `first`
};

// sums [rows][16 V] (+)= rows [row, row + rows) times a block; rows are at most A tiles'. `turn` of `turns`: its share
// of what is to be fetched.
template <int A, int V>
inline void amx_tiles(const LinearTask& t, uint32_t row, uint32_t rows, const LineBlock& block, float* sums,
                      uint32_t turn, uint32_t turns, Shape& shape) {
  const size_t x_bytes = size_t{t.k} * sizeof(bf16), row_bytes = V * 64;
  const bf16* x = static_cast<const bf16*>(t.x) + row * size_t{t.k} + 2 * size_t{block.first};
  const std::byte* panels = block.panels + block.first * line_bytes;
  float* c = sums + row * size_t{16} * V;
  shape.require(A == 2 ? tile_height : rows, A == 2 ? rows - tile_height : 0);
  if (block.first) {
    load_sums<A, V>(c, row_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const uint32_t steps = block.lines / step_lines;
  for (uint32_t i = 0; i < steps; ++i) {
    if (block.ahead && i % turns == turn) {
      for (int v = 0; v < V; ++v) {
        const std::byte* lines = block.ahead + v * block.panel + i * step_bytes;
        for (uint32_t line = 0; line < step_lines; ++line) __builtin_prefetch(lines + line * line_bytes, 0, 3);
      }
    }
    multiply_step<A, V>(x + size_t{2} * step_lines * i, x_bytes, panels + i * step_bytes, block.panel);
  }
  if (const uint32_t rest = block.lines % step_lines) {
    multiply_rest<A, V>(x + size_t{2} * step_lines * steps, x_bytes, rows, panels + steps * step_bytes, block.panel,
                        rest);
  }
  store_sums<A, V>(c, row_bytes);
}

template <int V>
inline void amx_block(const LinearTask& t, const LineBlock& block, float* sums, Shape& shape) {
  if (t.rows <= tile_height) return amx_tiles<1, V>(t, 0, t.rows, block, sums, 0, 1, shape);
  if constexpr (V <= 2) {
    const uint32_t turns = (t.rows + 2 * tile_height - 1) / (2 * tile_height);
    for (uint32_t turn = 0; turn < turns; ++turn) {
      const uint32_t row = turn * 2 * tile_height, rows = t.rows - row;
      if (rows <= tile_height) {
        amx_tiles<1, V>(t, row, rows, block, sums, turn, turns, shape);
      } else {
        amx_tiles<2, V>(t, row, rows < 2 * tile_height ? rows : 2 * tile_height, block, sums, turn, turns, shape);
      }
    }
  }
}

void amx_linear(const LinearTask& t) {
  Shape shape;
  const auto lines = static_cast<uint32_t>(panel_lines<Bf16Weights>(t.k));
  const size_t panel = lines * line_bytes;
  const uint32_t panels = (t.columns + panel_columns - 1) / panel_columns;
  const uint32_t width = t.rows <= tile_height ? 4 : 2;
  const uint32_t turns = (t.rows + 2 * tile_height - 1) / (2 * tile_height);
  // Few rows: each group of panels streams past in one go. Many: a block of all groups, then the next block.
  const uint32_t together = turns == 1 ? width : panels;
  for (uint32_t begin = 0; begin < panels; begin += together) {
    const uint32_t end = begin + together < panels ? begin + together : panels;
    for (uint32_t first = 0; first < lines; first += block_of_lines) {
      const uint32_t count = lines - first < block_of_lines ? lines - first : block_of_lines;
      for (uint32_t group = begin; group < end; group += width) {
        const uint32_t vectors = end - group < width ? end - group : width;
        const bool last = group + width >= end, last_block = first + count == lines;
        const std::byte* ahead = !last          ? t.panels + (group + width) * panel + first * line_bytes
                                 : !last_block  ? t.panels + begin * panel + (first + count) * line_bytes
                                 : end < panels ? t.panels + end * panel
                                                : t.next;
        const LineBlock block{t.panels + group * panel, panel, first, count, ahead};
        float* sums = t.scratch + (group - begin) * size_t{panel_columns} * t.rows;
        with_constant<4>(static_cast<int>(vectors),
                         [&](auto v) { amx_block<decltype(v)::value>(t, block, sums, shape); });
        if (!last_block) continue;
        settle_memory();
        const uint32_t column = group * panel_columns, columns = vectors * panel_columns;
        write_sums(t, sums, column, t.columns - column < columns ? t.columns - column : columns, columns);
      }
    }
  }
  _tile_release();  // tiles in use make a thread's switches dearer
}

}  // namespace
}  // namespace npr::compute
