// Rows times some panels of a packed matrix. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

// Lines of a block of panels. One tile of rows: as far as it reads ahead. Few: what waits in L2 while the next block is
// fetched behind it. Many: what stays in L1 while the rows pass by.
constexpr size_t one_tile_lines = 256;
constexpr size_t few_rows_lines = 1024;
constexpr size_t many_rows_lines = 384;

// Steps [first, first + steps) of V panels for all rows, into sums [rows][16 V]. What lies at the same steps of the
// panels from `next` on is fetched on the way, each tile of rows its share.
template <int V>
inline void linear_block(const LinearTask& t, const bf16* panels, size_t first, size_t steps, float* sums,
                         const bf16* next) {
  const size_t panel = size_t{t.k} * panel_columns;
  Tiles<V> b;
  for (int v = 0; v < V; ++v) b.tile[v] = panels + v * panel + first * 2 * panel_columns;
  const auto line = [&](int v, size_t step) {
    return reinterpret_cast<const char*>(next + (v < V ? v : V - 1) * panel) + 64 * step;
  };
  each_part<tile_rows>(t.rows, [&](auto r, uint32_t row, uint32_t index, uint32_t tiles) {
    constexpr int R = decltype(r)::value;
    if constexpr (R * V <= accumulators) {
      const Operand* a = static_cast<const Operand*>(t.x) + row * size_t{t.k} + 2 * first;
      float* c = sums + row * size_t{16} * V;
      const auto run = [&](auto&& ahead) { tile<R, V>(a, t.k, b, steps, c, 16 * V, first != 0, ahead); };
      if (!next) return run(Nothing());
      if (tiles == 1) {
        Lines<V> ahead;
        for (int v = 0; v < V; ++v) ahead.first[v] = line(v, 0);
        return run(ahead);
      }
      // some of the panels each, or where there are more tiles than panels, a part of one
      const int i = static_cast<int>(index), each = (V + static_cast<int>(tiles) - 1) / static_cast<int>(tiles);
      const int shift = 31 - __builtin_clz(tiles / V | 1), parts = 1 << shift;
      if (i * each >= V * parts) return run(Nothing());
      with_constant<V>(each, [&](auto n) {
        constexpr int N = decltype(n)::value;
        SlowLines<N> ahead{.first = {}, .shift = shift};
        for (int s = 0; s < N; ++s) ahead.first[s] = line(i * N / parts + s, i % parts * (steps >> shift));
        run(ahead);
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
  const size_t lines = t.rows > 4 * tile_rows ? many_rows_lines : t.rows > tile_rows ? few_rows_lines : one_tile_lines;
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
