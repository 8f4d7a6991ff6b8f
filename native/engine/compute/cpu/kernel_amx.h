// Linear layers by AMX. Included by kernels_amx.cc alone, after tile_amx.h.
#pragma once

namespace npr::compute {
namespace {

// Lines of a panel that are multiplied by all rows before the next: of two panels they stay in L1 beside the rows.
constexpr uint32_t block_of_lines = 256;

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
  RightLines<V> right;
  for (int v = 0; v < V; ++v) right.line[v] = block.panels + v * block.panel + block.first * line_bytes;
  float* c = sums + row * size_t{16} * V;
  shape.require(rows);
  if (block.first) {
    load_sums<A, V>(c, row_bytes);
  } else {
    zero_sums();
  }
  multiply_lines<A, V>(static_cast<const bf16*>(t.x) + row * size_t{t.k} + 2 * size_t{block.first}, x_bytes, rows,
                       right, block.lines, [&](uint32_t i) {
                         if (!block.ahead || i % turns != turn) return;
                         for (int v = 0; v < V; ++v) {
                           fetch_lines(block.ahead + v * block.panel + i * step_bytes, step_lines);
                         }
                       });
  store_sums<A, V>(c, row_bytes);
}

template <int V>
inline void amx_block(const LinearTask& t, const LineBlock& block, float* sums, Shape& shape) {
  const uint32_t turns = (t.rows + 2 * tile_height - 1) / (2 * tile_height);
  each_two_tiles(t.rows, [&](uint32_t row, uint32_t rows) {
    const uint32_t turn = row / (2 * tile_height);
    if (rows <= tile_height) return amx_tiles<1, V>(t, row, rows, block, sums, turn, turns, shape);
    if constexpr (V <= 2) amx_tiles<2, V>(t, row, rows, block, sums, turn, turns, shape);
  });
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
}

}  // namespace
}  // namespace npr::compute
