// Rows times one panel of a packed matrix. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

constexpr uint32_t panel_columns = 16 * tile_vectors;
// Steps of a block of the panel: with few rows a block waits in L2 while the next is fetched behind it; with many it
// stays in L1 while the rows pass by.
constexpr size_t few_rows_steps = 256;
constexpr size_t many_rows_steps = 96;

// The block's rows; the memory behind `next` ([next_steps] of a panel) is prefetched evenly along the way.
inline void linear_block(const LinearTask& t, size_t first, size_t steps, const bf16* next, size_t next_steps) {
  const size_t next_lines = next ? next_steps * tile_vectors : 0;
  const Columns b{t.panel + first * 2 * panel_columns, 2 * panel_columns};
  each_tile(t.rows, [&](auto r, uint32_t row, uint32_t index, uint32_t tiles) {
    constexpr int R = decltype(r)::value;
    const bf16* a = t.x + row * size_t{t.k} + 2 * first;
    float* c = t.scratch + row * panel_columns;
    const size_t lines_a_step = (tile_vectors + tiles - 1) / tiles;
    const size_t line = index * lines_a_step * steps;
    if (line >= next_lines) return tile<R, tile_vectors>(a, t.k, b, steps, c, panel_columns, first != 0);
    with_constant<tile_vectors>(static_cast<int>(lines_a_step), [&](auto lines) {
      const Lines<decltype(lines)::value> ahead{reinterpret_cast<const char*>(next) + line * 64};
      tile<R, tile_vectors>(a, t.k, b, steps, c, panel_columns, first != 0, ahead);
    });
  });
}

inline void write_sums(const LinearTask& t) {
  for (uint32_t row = 0; row < t.rows; ++row) {
    const float* from = t.scratch + row * panel_columns;
    float* to = t.out + row * t.out_stride;
    uint32_t c = 0;
    for (; c + 16 <= t.columns; c += 16) store(to + c, t.add ? load(to + c) + load(from + c) : load(from + c));
    for (; c < t.columns; ++c) to[c] = t.add ? to[c] + from[c] : from[c];
  }
}

void linear(const LinearTask& t) {
  const size_t steps = t.k / 2;
  const size_t block = t.rows > 4 * tile_rows ? many_rows_steps : few_rows_steps;
  for (size_t first = 0; first < steps; first += block) {
    const size_t count = steps - first < block ? steps - first : block;
    const size_t after = first + count;
    const size_t left = steps - after < block ? steps - after : block;
    if (after < steps) {
      linear_block(t, first, count, t.panel + after * 2 * panel_columns, left);
    } else {
      linear_block(t, first, count, t.next_panel, steps < block ? steps : block);
    }
  }
  write_sums(t);
}

}  // namespace
}  // namespace npr::compute
