// Rows times some panels of a packed matrix. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

// Lines of a block of panels. One tile of rows: as far as it reads ahead. Several: whole panels, which the hardware
// sees coming, as long as they and the rows wait in L2 together; else so many.
constexpr size_t one_tile_lines = 256;
constexpr size_t several_tiles_lines = 1536;
constexpr size_t together_bytes = size_t{384} << 10;
constexpr size_t line_bytes = 64;
constexpr uint32_t block_rows = 128 / linear_rows * linear_rows;

// Rows of a tile, of so many that are multiplied: all of them, as long as two panels' sums fit the registers (or one's,
// where no more than that fits for linear_rows), since weights that come from memory are then read once; else as few
// tiles as can be, as even as can be.
constexpr uint32_t one_tile_rows = accumulators / 2 > linear_rows ? accumulators / 2 : linear_rows;
constexpr uint32_t linear_tile_rows(uint32_t rows) {
  if (rows <= one_tile_rows) return rows;
  const uint32_t tiles = (rows + linear_rows - 1) / linear_rows;
  return (rows + tiles - 1) / tiles;
}
// Fewer rows don't meet in a set of L1, and another core would have to fetch what one has just arranged: 5% of a call.
// Operands that are no bf16 become such by being arranged.
constexpr int least_arranged = sizeof(Operand) == sizeof(bf16) ? 5 : 0;
constexpr uint32_t linear_tile_panels(uint32_t tile) { return vectors_beside(static_cast<int>(tile)); }

// Panels of bf16. A format says what a line of its panels holds and how a tile multiplies by some lines.
struct Bf16Weights {
  static constexpr uint32_t depth = 2;      // elements of k in a line
  static constexpr size_t inseparable = 1;  // lines
  static size_t row_bytes(uint32_t k) { return size_t{k} * sizeof(Operand); }
  // Lines [first, first + lines) of V panels for rows [row, row + R), a tile, into or onto c [R][16 V].
  template <int R, int V, class Ahead = Nothing>
  static void multiply(const LinearTask& t, uint32_t row, const std::byte* panels, size_t panel, size_t first,
                       size_t lines, float* c, Ahead&& ahead = {}) {
    Tiles<V> b;
    for (int v = 0; v < V; ++v) b.tile[v] = reinterpret_cast<const bf16*>(panels + v * panel + first * line_bytes);
    const Operand* rows = static_cast<const Operand*>(t.x) + row * size_t{t.k};
    if constexpr (R < least_arranged) {
      if (!t.arranged) return tile<R, V>(ByRow{rows + 2 * first, t.k}, b, lines, c, 16 * V, first != 0, ahead);
    }
    tile<R, V>(ByStep<R>{rows + 2 * R * first}, b, lines, c, 16 * V, first != 0, ahead);
  }
};

template <class W>
inline size_t panel_lines(uint32_t k) {
  return (k + W::depth - 1) / W::depth;
}

// Lines [first, first + lines) of V panels for all rows, into sums [rows][16 V]. As many lines of V panels from `next`
// on, or what lies there, are fetched on the way.
template <class W, int V>
inline void linear_block(const LinearTask& t, const std::byte* panels, size_t first, size_t lines, float* sums,
                         const std::byte* next) {
  const size_t panel = panel_lines<W>(t.k) * line_bytes;
  const auto* following = reinterpret_cast<const char*>(next);
  const auto tiles = static_cast<int>((t.rows + t.tile_rows - 1) / t.tile_rows);
  Spread spread(next ? following : reinterpret_cast<const char*>(panels), lines, panel, V, tiles);
  for (uint32_t row = 0; row < t.rows; row += t.tile_rows) {
    const uint32_t rows = t.rows - row < t.tile_rows ? t.rows - row : t.tile_rows;
    with_constant<one_tile_rows>(static_cast<int>(rows), [&](auto r) {
      constexpr int R = decltype(r)::value;
      if constexpr (R * V <= accumulators) {
        float* c = sums + row * size_t{16} * V;
        const auto run = [&](auto&& ahead) {
          W::template multiply<R, V>(t, row, panels, panel, first, lines, c, ahead);
        };
        if (!next) return run(Nothing());
        if constexpr (R <= linear_rows) {
          if (tiles > 1) return run(spread);
        }
        Lines<V> ahead;
        for (int v = 0; v < V; ++v) ahead.first[v] = following + v * panel;
        run(ahead);
      }
    });
  }
}

inline void write_sums(const LinearTask& t, const float* sums, uint32_t first, uint32_t columns, uint32_t stride) {
  for (uint32_t row = 0; row < t.rows; ++row) {
    const float* from = sums + row * stride;
    float* to = t.out + row * t.out_stride + first;
    const float* scales = t.scales ? t.scales + first : nullptr;
    uint32_t c = 0;
    for (; c + 16 <= columns; c += 16) {
      const Vec sum = scales ? load(from + c) * load(scales + c) : load(from + c);
      store(to + c, t.add ? load(to + c) + sum : sum);
    }
    for (; c < columns; ++c) {
      const float sum = scales ? from[c] * scales[c] : from[c];
      to[c] = t.add ? to[c] + sum : sum;
    }
  }
}

// Panels [begin, end) of the task in groups of `width`, the last maybe narrower: every block of lines for all groups,
// then the next block. `next`: the panels that follow.
template <class W>
inline void linear_groups(const LinearTask& t, uint32_t begin, uint32_t end, uint32_t width, const std::byte* next) {
  const size_t lines = panel_lines<W>(t.k), panel = lines * line_bytes;
  const size_t units = (lines + W::inseparable - 1) / W::inseparable;
  const bool whole = t.rows > t.tile_rows && t.rows * W::row_bytes(t.k) + width * panel <= together_bytes;
  const size_t block_lines = t.rows > t.tile_rows ? several_tiles_lines : one_tile_lines;
  const size_t blocks = whole ? 1 : (lines * width + block_lines - 1) / block_lines;
  for (size_t block = 0; block < blocks; ++block) {
    const size_t first = units * block / blocks * W::inseparable;
    const size_t after = block + 1 < blocks ? units * (block + 1) / blocks * W::inseparable : lines;
    for (uint32_t group = begin; group < end; group += width) {
      const uint32_t panels = end - group < width ? end - group : width;
      const std::byte* following = group + width < end ? t.panels + (group + width) * panel + first * line_bytes
                                   : after < lines     ? t.panels + begin * panel + after * line_bytes
                                                       : next;
      float* sums = t.scratch + (group - begin) * size_t{panel_columns} * t.rows;
      with_constant<most_vectors>(static_cast<int>(panels), [&](auto v) {
        linear_block<W, decltype(v)::value>(t, t.panels + group * panel, first, after - first, sums, following);
      });
      if (after < lines) continue;
      const uint32_t column = group * panel_columns, columns = panels * panel_columns;
      write_sums(t, sums, column, t.columns - column < columns ? t.columns - column : columns, columns);
    }
  }
}

template <class W>
void linear(const LinearTask& t) {
  const uint32_t panels = (t.columns + panel_columns - 1) / panel_columns;
  const uint32_t width = linear_tile_panels(t.tile_rows);
  if (t.rows > t.tile_rows) return linear_groups<W>(t, 0, panels, width, t.next);
  // one tile of rows: each group streams past in one go
  const size_t panel = panel_lines<W>(t.k) * line_bytes;
  for (uint32_t first = 0; first < panels; first += width) {
    const uint32_t end = first + width < panels ? first + width : panels;
    linear_groups<W>(t, first, end, width, end < panels ? t.panels + end * panel : t.next);
  }
}

}  // namespace
}  // namespace npr::compute
