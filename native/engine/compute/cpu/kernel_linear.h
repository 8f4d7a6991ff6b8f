// Rows times some panels of a packed matrix. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

// Lines of a block of panels: with few rows a block waits in L2 while the next is fetched behind it; with many it
// stays in L1 while the rows pass by.
constexpr size_t few_rows_lines = 1024;
constexpr size_t many_rows_lines = 384;

// Steps [first, first + steps) of V panels for all rows, into sums [rows][16 V]. What lies at the same steps of the
// panels from `next` on is fetched on the way, some of the panels by each tile of rows.
template <int V>
inline void linear_block(const LinearTask& t, const bf16* panels, size_t first, size_t steps, float* sums,
                         const bf16* next) {
  const size_t panel = size_t{t.k} * panel_columns;
  Tiles<V> b;
  for (int v = 0; v < V; ++v) b.tile[v] = panels + v * panel + first * 2 * panel_columns;
  each_part<tile_rows>(t.rows, [&](auto r, uint32_t row, uint32_t index, uint32_t tiles) {
    constexpr int R = decltype(r)::value;
    if constexpr (R * V <= accumulators) {
      const Operand* a = static_cast<const Operand*>(t.x) + row * size_t{t.k} + 2 * first;
      float* c = sums + row * size_t{16} * V;
      const int streams = (V + static_cast<int>(tiles) - 1) / static_cast<int>(tiles);
      const int begin = static_cast<int>(index) * streams;
      if (!next || begin >= V) return tile<R, V>(a, t.k, b, steps, c, 16 * V, first != 0);
      with_constant<V>(streams, [&](auto n) {
        constexpr int N = decltype(n)::value;
        Lines<N> ahead;
        for (int i = 0; i < N; ++i) {
          ahead.first[i] = reinterpret_cast<const char*>(next + (begin + i < V ? begin + i : V - 1) * panel);
        }
        tile<R, V>(a, t.k, b, steps, c, 16 * V, first != 0, ahead);
      });
    }
  });
}

inline void write_sums(const LinearTask& t, const float* sums, uint32_t first, uint32_t columns, uint32_t stride) {
  for (uint32_t row = 0; row < t.rows; ++row) {
    const float* from = sums + row * stride;
    float* to = t.out + row * t.out_stride + first;
    uint32_t c = 0;
    for (; c + 16 <= columns; c += 16) store(to + c, t.add ? load(to + c) + load(from + c) : load(from + c));
    for (; c < columns; ++c) to[c] = t.add ? to[c] + from[c] : from[c];
  }
}

// Panels [begin, end) of the task in groups of `width`, the last maybe narrower: every block of steps for all groups,
// then the next block. `next`: the panels that follow.
inline void linear_groups(const LinearTask& t, uint32_t begin, uint32_t end, uint32_t width, const bf16* next) {
  const size_t panel = size_t{t.k} * panel_columns, steps = t.k / 2;
  const size_t lines = t.rows > 4 * tile_rows ? many_rows_lines : few_rows_lines;
  const size_t blocks = (steps * width + lines - 1) / lines;
  for (size_t block = 0; block < blocks; ++block) {
    const size_t first = steps * block / blocks, after = steps * (block + 1) / blocks;
    for (uint32_t group = begin; group < end; group += width) {
      const uint32_t panels = end - group < width ? end - group : width;
      const bf16* following = group + width < end ? t.panels + (group + width) * panel + first * 2 * panel_columns
                              : after < steps     ? t.panels + begin * panel + after * 2 * panel_columns
                                                  : next;
      float* sums = t.scratch + (group - begin) * size_t{panel_columns} * t.rows;
      with_constant<most_vectors>(static_cast<int>(panels), [&](auto v) {
        linear_block<decltype(v)::value>(t, t.panels + group * panel, first, after - first, sums, following);
      });
      if (after < steps) continue;
      const uint32_t column = group * panel_columns, columns = panels * panel_columns;
      write_sums(t, sums, column, t.columns - column < columns ? t.columns - column : columns, columns);
    }
  }
}

void linear(const LinearTask& t) {
  const uint32_t panels = (t.columns + panel_columns - 1) / panel_columns;
  const uint32_t tiles = (t.rows + tile_rows - 1) / tile_rows;
  const auto width = static_cast<uint32_t>(vectors_beside(static_cast<int>((t.rows + tiles - 1) / tiles)));
  if (tiles > 1) return linear_groups(t, 0, panels, width, t.next);
  // one tile of rows: each group streams past in one go
  const size_t panel = size_t{t.k} * panel_columns;
  for (uint32_t first = 0; first < panels; first += width) {
    const uint32_t end = first + width < panels ? first + width : panels;
    linear_groups(t, first, end, width, end < panels ? t.panels + end * panel : t.next);
  }
}

}  // namespace
}  // namespace npr::compute
