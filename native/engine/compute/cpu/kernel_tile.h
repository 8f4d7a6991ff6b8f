// The register tile that linear layers, scores and weighted values share. Included once per instruction set, after its
// simd_*.h.
#pragma once

namespace npr::compute {
namespace {

// Where the right operand's pairs lie: vector v at step i is at(v, i), 16 columns of 2.
struct Columns {  // a panel [steps][columns][2]
  const bf16* first;
  size_t step;  // 2 * columns
  Pairs at(int v, size_t i) const { return load_pairs(first + i * step + 32 * v); }
};
template <int V>
struct Tiles {  // V key tiles [steps][16][2]
  const bf16* tile[V];
  Pairs at(int v, size_t i) const { return load_pairs(tile[v] + 32 * i); }
};
struct Rows {               // a step's pair is one element each of two rows
  const bf16* const* rows;  // [2 * steps]
  size_t column;
  Pairs at(int v, size_t i) const {
    return load_interleaved(rows[2 * i] + column + 16 * v, rows[2 * i + 1] + column + 16 * v);
  }
};

// What a tile fetches into L2 along the way, at each of its steps.
struct Nothing {
  void at(size_t) const {}
};
template <int N>
struct Lines {  // N cache lines a step
  const char* first;
  void at(size_t i) const {
#pragma GCC unroll 8
    for (int line = 0; line < N; ++line) __builtin_prefetch(first + (i * N + line) * 64, 0, 2);
  }
};

// c [R][16 V] (+)= a [R][2 steps] . b: one accumulator an output, steps in order, so that splitting a sum over calls
// (`resume`) or rows over tiles changes no bit.
template <int R, int V, class B, class Ahead = Nothing>
inline void tile(const bf16* a, size_t a_stride, const B& b, size_t steps, float* c, size_t c_stride, bool resume,
                 Ahead&& ahead = {}) {
  Vec acc[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = resume ? load(c + r * c_stride + 16 * v) : set1(0.0f);
  }
  for (size_t i = 0; i < steps; ++i) {
    Pairs right[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) right[v] = b.at(v, i);
    ahead.at(i);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Pair left = broadcast(a + r * a_stride + 2 * i);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[r][v] = dot(acc[r][v], left, right[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(c + r * c_stride + 16 * v, acc[r][v]);
  }
}

// Calls f(constant) with the integral constant equal to n, which is in [1, N].
template <int N>
struct Constant {
  static constexpr int value = N;
};
template <int N, class F>
inline void with_constant(int n, const F& f) {
  if constexpr (N > 1) {
    if (n < N) return with_constant<N - 1>(n, f);
  }
  f(Constant<N>());
}

// Cuts rows into as few tiles as can be, as even as can be: f(constant of its rows, first row, index, tiles) for each.
template <class F>
inline void each_tile(uint32_t rows, const F& f) {
  const uint32_t tiles = (rows + tile_rows - 1) / tile_rows;
  for (uint32_t t = 0, row = 0; t < tiles; ++t) {
    const uint32_t count = (rows - row + tiles - t - 1) / (tiles - t);
    with_constant<tile_rows>(static_cast<int>(count), [&](auto r) { f(r, row, t, tiles); });
    row += count;
  }
}

}  // namespace
}  // namespace npr::compute
