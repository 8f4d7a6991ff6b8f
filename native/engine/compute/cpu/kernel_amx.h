// Linear layers by AMX. Included by kernels_amx.cc alone, after tile_amx.h.
#pragma once

namespace npr::compute {
namespace {

// Lines of a panel that are multiplied by all rows before the next: of two panels they stay in L1 beside the rows.
constexpr uint32_t block_of_lines = 128;

constexpr uint32_t amx_tile_rows(uint32_t) { return tile_height; }
constexpr uint32_t amx_tile_panels(uint32_t) { return 4; }

// Rows of bf16 as tiles: [row / 16][k / 32][16 rows][32], zeros where there are none. So they are read one line after
// another; as rows, sixteen of them would meet in a set or two of L1 wherever k is a multiple of 512.
size_t arranged_row_bytes(uint32_t k) { return (k + 31) / 32 * size_t{64}; }
void arrange(const void* x, uint32_t rows, uint32_t k, void* out) {
  const uint32_t steps = k / 32, rest = k % 32;
  for (uint32_t r = 0; r < tile_height; ++r) {
    auto* to = static_cast<std::byte*>(out) + r * size_t{64};
    if (r >= rows) {
      for (uint32_t i = 0; i < steps + (rest > 0); ++i, to += step_bytes) __builtin_memset(to, 0, 64);
      continue;
    }
    const auto* from = static_cast<const bf16*>(x) + r * size_t{k};
    for (uint32_t i = 0; i < steps; ++i, to += step_bytes) __builtin_memcpy(to, from + 32 * i, 64);
    if (rest == 0) continue;
    __builtin_memset(to, 0, 64);
    __builtin_memcpy(to, from + 32 * steps, rest * sizeof(bf16));
  }
}

// A stretch of the panels' lines.
struct LineBlock {
  const std::byte* panels;
  size_t panel;           // bytes
  uint32_t first, lines;  // `first` counts whole steps
  float* sums;            // of the first row, between blocks
  size_t stride;          // from a row's sums to the next's
  uint32_t column;        // of the task, that the panels begin with
  bool last;              // of the panels' lines
};

// Whether outputs are written past the caches: they take more room than there is, and would be read first.
inline bool streams(const LinearTask& t) {
  return t.rows > 2 * tile_height && !t.add && t.out_stride % 16 == 0 && reinterpret_cast<uintptr_t>(t.out) % 64 == 0;
}

// Finished sums [rows][stride] of a task's rows from `row` and columns from `column` on: two tiles of rows at most.
inline void write_tiles(const LinearTask& t, const float* sums, uint32_t stride, uint32_t row, uint32_t column,
                        uint32_t columns, bool stream) {
  LinearTask part = t;
  part.rows = t.rows - row < 2 * tile_height ? t.rows - row : 2 * tile_height;
  part.out += row * t.out_stride;
  columns = t.columns - column < columns ? t.columns - column : columns;
  if (!stream || columns % 16 != 0) return write_sums(part, sums, column, columns, stride);
  for (uint32_t r = 0; r < part.rows; ++r) {
    float* to = part.out + r * t.out_stride + column;
    for (uint32_t c = 0; c < columns; c += 16) {
      const Vec sum = load(sums + r * stride + c);
      _mm512_stream_ps(to + c, (t.scales ? sum * load(t.scales + column + c) : sum).v);
    }
  }
}

// What amx_linear() multiplies by panels of bf16 with.
struct Bf16Tiles {
  using Weights = Bf16Weights;

  // Sums (+)= A tiles of rows from `row` on times V panels of a block, written out after the last block. fetch(i): at
  // the block's step i.
  template <int A, int V, bool once = false, class Fetch>
  static void multiply(const LinearTask& t, uint32_t row, const LineBlock& block, const Fetch& fetch, bool stream) {
    const size_t row_bytes = block.stride * sizeof(float), tile_bytes = tile_height * arranged_row_bytes(t.k);
    const LeftRows left{
        static_cast<const std::byte*>(t.x) + row / tile_height * tile_bytes + block.first / step_lines * step_bytes, 64,
        tile_bytes, step_bytes};
    RightLines<V, once> right;
    for (int v = 0; v < V; ++v) right.line[v] = block.panels + v * block.panel + block.first * line_bytes;
    float* c = block.sums + row * block.stride;
    if (block.first) {
      load_sums<A, V>(c, row_bytes);
    } else {
      zero_sums();
    }
    multiply_lines<A, V>(left, A * tile_height, right, block.lines, fetch);
    if (!block.last) return store_sums<A, V>(c, row_bytes);
    alignas(64) float finished[A * tile_height][16 * V];
    store_sums<A, V>(finished[0], sizeof finished[0]);
    settle_memory();
    write_tiles(t, finished[0], 16 * V, row, block.column, 16 * V, stream);
  }
};

// All rows times a block. `ahead`: what to fetch meanwhile, as much as the block and laid out like it; may be null.
template <class Tiles, int V>
inline void amx_block(const LinearTask& t, const LineBlock& block, const std::byte* ahead, bool stream) {
  const uint32_t turns = (t.rows + 2 * tile_height - 1) / (2 * tile_height);
  for (uint32_t turn = 0; turn < turns; ++turn) {
    const uint32_t row = turn * 2 * tile_height;
    const Share share(turn, turns);
    const auto fetch = [&](uint32_t i) {
      if (!ahead) return;
      for (int v = 0; v < V; ++v) {
        if (turns == 1) {
          share.fetch<l2>(ahead + v * block.panel + i * step_bytes);
        } else {
          share.fetch<l1>(ahead + v * block.panel + i * step_bytes);
        }
      }
    };
    if (t.rows - row <= tile_height) {
      Tiles::template multiply<1, V>(t, row, block, fetch, stream);
    } else if constexpr (V <= 2) {
      Tiles::template multiply<2, V>(t, row, block, fetch, stream);
    }
  }
}

// A few rows, while each panel streams past in the order in which it lies in memory, which sets the pace: read so, and
// fetched two steps ahead, it gives 34 of 36 GB/s, four panels side by side 30. More rows than these would have to be
// read again too often.
constexpr uint32_t most_stream_rows = 8;

template <class Tiles>
inline void amx_stream(const LinearTask& t) {
  const auto lines = static_cast<uint32_t>(panel_lines<typename Tiles::Weights>(t.k));
  const size_t panel = lines * line_bytes, near = 2 * step_bytes;
  const auto fetch = [](const std::byte* step) { Share(0, 1).fetch<l2>(step); };
  for (uint32_t column = 0; column < t.columns; column += panel_columns) {
    const std::byte* at = t.panels + column / panel_columns * panel;
    if (t.columns - column <= panel_columns && t.next) {
      for (size_t ahead = 0; ahead < near; ahead += step_bytes) fetch(t.next + ahead);
    }
    const LineBlock block{.panels = at,
                          .panel = panel,
                          .first = 0,
                          .lines = lines,
                          .sums = t.scratch,
                          .stride = panel_columns,
                          .column = column,
                          .last = true};
    Tiles::template multiply<1, 1, true>(
        t, 0, block, [&](uint32_t i) { fetch(at + near + i * step_bytes); }, false);
  }
}

template <class Tiles>
void amx_linear(const LinearTask& t) {
  Shape shape;
  if (t.rows <= most_stream_rows) {
    shape.require(t.rows);
    return amx_stream<Tiles>(t);
  }
  shape.require(2 * tile_height);
  const auto lines = static_cast<uint32_t>(panel_lines<typename Tiles::Weights>(t.k));
  const size_t panel = lines * line_bytes;
  const uint32_t panels = (t.columns + panel_columns - 1) / panel_columns;
  const uint32_t width = t.rows <= tile_height ? 4 : 2;
  const bool stream = streams(t);
  // Few rows: each group of panels streams past in one go. Many: a block of all groups, then the next block.
  const bool few = t.rows <= 2 * tile_height;
  const uint32_t together = few ? width : panels, most = few ? lines : block_of_lines;
  for (uint32_t begin = 0; begin < panels; begin += together) {
    const uint32_t end = begin + together < panels ? begin + together : panels;
    for (uint32_t first = 0; first < lines; first += most) {
      const uint32_t count = lines - first < most ? lines - first : most;
      for (uint32_t group = begin; group < end; group += width) {
        const uint32_t vectors = end - group < width ? end - group : width;
        const bool last_group = group + width >= end, last = first + count == lines;
        const std::byte* ahead = !last_group    ? t.panels + (group + width) * panel + first * line_bytes
                                 : !last        ? t.panels + begin * panel + (first + count) * line_bytes
                                 : end < panels ? t.panels + end * panel
                                                : t.next;
        const LineBlock block{.panels = t.panels + group * panel,
                              .panel = panel,
                              .first = first,
                              .lines = count,
                              .sums = t.scratch + (group - begin) * panel_columns,
                              .stride = together * panel_columns,
                              .column = group * panel_columns,
                              .last = last};
        with_constant<4>(static_cast<int>(vectors),
                         [&](auto v) { amx_block<Tiles, decltype(v)::value>(t, block, ahead, stream); });
      }
    }
  }
  if (stream) _mm_sfence();
}

}  // namespace
}  // namespace npr::compute
