// AMX's tiles, which hold sixteen rows of 64 bytes: what linear layers and attention build on. Included by
// kernels_amx.cc alone, after kernel_linear.h and tile_instructions.h.
//
// Bits: a step adds to an element of a product the sum of its own row's and column's sixteen pairs of bf16, or fours of
// int8; which other rows and columns are in the tiles does not enter, nor do zeros. Subnormal bf16 and sums count as
// zero.
#pragma once

namespace npr::compute {
namespace {

constexpr uint32_t tile_height = 16;
constexpr uint32_t step_lines = 16;  // of a right operand, in one tile: 32 bf16 of k, or 64 int8
constexpr size_t step_bytes = step_lines * line_bytes;
constexpr size_t left_line_bytes = 4;  // what a row has to be multiplied by a line: two bf16 or four int8

// Between what is written and tiles that read it: their loads don't say which memory they read.
inline void settle_memory() { asm volatile("" ::: "memory"); }

// Of __builtin_prefetch().
constexpr int l1 = 3, l2 = 2;

// What turn `turn` of `turns` fetches of a step's lines: all take part in each step, since lines on their way
// from memory, were they many at once, would leave no fill buffers to the operands that come from L2.
struct Share {
  uint32_t first, end;
  Share(uint32_t turn, uint32_t turns) : first(step_lines * turn / turns), end(step_lines * (turn + 1) / turns) {}
  template <int locality>
  void fetch(const void* step) const {
    for (uint32_t i = first; i < end; ++i)
      __builtin_prefetch(static_cast<const std::byte*>(step) + i * line_bytes, 0, locality);
  }
};

// What tiles 0 to 7 hold, as ldtilecfg takes it.
struct alignas(64) TileShape {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileShape) == 64);

// Tiles 0 to 3 are sums, 4 and 5 rows of x, 6 and 7 right operands. Loading a shape takes as long as five steps.
class Shape {
 public:
  ~Shape() { release_tiles(); }  // tiles in use make a thread's switches dearer

  // A tile of sums and rows, or two in turns.
  void require(uint32_t rows) {
    if (rows == rows_) return;
    rows_ = rows;
    TileShape shape{.row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}};
    const bool two = rows > tile_height;
    for (uint32_t i = 0; i < 6; ++i) {
      shape.rows[i] = static_cast<uint8_t>(!two ? rows : i % 2 == 0 ? tile_height : rows - tile_height);
    }
    shape.rows[6] = shape.rows[7] = step_lines;
    settle_memory();
    use_tiles(&shape);
  }

 private:
  uint32_t rows_ = 0;
};

// What tiles of sums have as their left operands: rows of 64 bytes a step.
struct LeftRows {
  const std::byte* row;
  size_t row_bytes;   // from a tile's row to the next
  size_t tile_bytes;  // from a tile to the one below
  size_t step;        // from a step to the next
};
// Rows as they are, `bytes` apart.
inline LeftRows plain_rows(const void* x, size_t bytes) {
  return {static_cast<const std::byte*>(x), bytes, tile_height * bytes, 64};
}

// What V tiles of sums have as their right operands: lines of sixteen pairs or fours each, at `line[v]` and onwards.
// `once`: nothing reads them again soon, so that they need not push the left operands out of L1.
template <int V, bool once = false>
struct RightLines {
  const std::byte* line[V];

  template <int tile>
  static void load(const std::byte* lines) {
    if constexpr (once) {
      load_tile_once<tile>(lines, line_bytes);
    } else {
      load_tile<tile>(lines, line_bytes);
    }
  }
};

// What a step adds to the sums.
struct Bf16Product {
  template <int sum, int left, int right>
  static void add() {
    add_bf16_product<sum, left, right>();
  }
};
struct Int8Product {
  template <int sum, int left, int right>
  static void add() {
    add_int8_product<sum, left, right>();
  }
};

// Sum (tile of rows a, right operand v) is tile a + A v.
template <int A, int V, class Product = Bf16Product, bool once>
inline void multiply_step(const LeftRows& left, const RightLines<V, once>& right, uint32_t step) {
  const std::byte* x = left.row + step * left.step;
  const size_t offset = step * step_bytes;
  load_tile<4>(x, left.row_bytes);
  if constexpr (A == 2) load_tile<5>(x + left.tile_bytes, left.row_bytes);
  right.template load<6>(right.line[0] + offset);
  Product::template add<0, 4, 6>();
  if constexpr (A == 2) Product::template add<1, 5, 6>();
  if constexpr (V > 1) {
    right.template load<7>(right.line[1] + offset);
    if constexpr (A == 2) {
      Product::template add<2, 4, 7>();
      Product::template add<3, 5, 7>();
    } else {
      Product::template add<1, 4, 7>();
    }
  }
  if constexpr (V > 2) {
    right.template load<6>(right.line[2] + offset);
    Product::template add<2, 4, 6>();
  }
  if constexpr (V > 3) {
    right.template load<7>(right.line[3] + offset);
    Product::template add<3, 4, 7>();
  }
}

// The last lines, fewer than a step: both sides padded with zeros.
template <int A, int V, class Product = Bf16Product, bool once>
inline void multiply_rest(const LeftRows& left, uint32_t rows, const RightLines<V, once>& right, uint32_t step,
                          uint32_t lines) {
  alignas(64) std::byte x[A * tile_height][64] = {}, padded[V * step_bytes] = {};
  for (uint32_t r = 0; r < rows; ++r) {
    const std::byte* row = left.row + r / tile_height * left.tile_bytes + r % tile_height * left.row_bytes;
    __builtin_memcpy(x[r], row + step * left.step, lines * left_line_bytes);
  }
  RightLines<V> panels;
  for (int v = 0; v < V; ++v) {
    panels.line[v] = padded + v * step_bytes;
    __builtin_memcpy(padded + v * step_bytes, right.line[v] + step * step_bytes, lines * line_bytes);
  }
  settle_memory();
  multiply_step<A, V, Product>(plain_rows(x, 64), panels, 0);
}

// Onto the sums: `rows` rows of the left operand times `lines` lines of the right one. ahead(i): at step i.
template <int A, int V, class Product = Bf16Product, bool once, class Ahead>
inline void multiply_lines(const LeftRows& left, uint32_t rows, const RightLines<V, once>& right, uint32_t lines,
                           const Ahead& ahead) {
  const uint32_t steps = lines / step_lines;
  for (uint32_t i = 0; i < steps; ++i) {
    ahead(i);
    multiply_step<A, V, Product>(left, right, i);
  }
  if (const uint32_t rest = lines % step_lines) multiply_rest<A, V, Product>(left, rows, right, steps, rest);
}

inline void zero_sums() {
  zero_tile<0>();
  zero_tile<1>();
  zero_tile<2>();
  zero_tile<3>();
}
template <int A, int V>
inline void load_sums(const float* c, size_t row_bytes) {
  const auto* at = reinterpret_cast<const std::byte*>(c);
  const size_t below = tile_height * row_bytes;
  load_tile<0>(at, row_bytes);
  if constexpr (A * V > 1) load_tile<1>(at + (A == 2 ? below : 64), row_bytes);
  if constexpr (A * V > 2) load_tile<2>(at + (A == 2 ? 64 : 128), row_bytes);
  if constexpr (A * V > 3) load_tile<3>(at + (A == 2 ? below + 64 : 192), row_bytes);
}
template <int A, int V>
inline void store_sums(void* c, size_t row_bytes) {
  auto* at = static_cast<std::byte*>(c);
  const size_t below = tile_height * row_bytes;
  store_tile<0>(at, row_bytes);
  if constexpr (A * V > 1) store_tile<1>(at + (A == 2 ? below : 64), row_bytes);
  if constexpr (A * V > 2) store_tile<2>(at + (A == 2 ? 64 : 128), row_bytes);
  if constexpr (A * V > 3) store_tile<3>(at + (A == 2 ? below + 64 : 192), row_bytes);
}

inline __mmask16 lanes_below(uint32_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1); }

}  // namespace
}  // namespace npr::compute
