// The register tile that linear layers, scores and weighted values share. Included once per instruction set, after its
// simd_*.h.
#pragma once

namespace npr::compute {
namespace {

// Vectors of sixteen columns that a tile of `rows` rows takes at once: more would not fit the registers.
constexpr int most_vectors = 4;
constexpr int vectors_beside(int rows) {
  return accumulators / rows < most_vectors ? accumulators / rows : most_vectors;
}

// Where the left operand's elements lie: of row r at step i, those that `part` multiplies.
struct ByRow {
  const Operand* first;
  size_t stride;
  template <int part>
  const Operand* at(int r, size_t i) const {
    return first + r * stride + 2 * i + part;
  }
};
template <int R>
struct ByStep {  // what R rows have at one step beside each other, as arrange() leaves it
  const Operand* first;
  template <int part>
  const Operand* at(int r, size_t i) const {
    constexpr size_t elements = 2 / pair_parts;
    return first + ((pair_parts * i + part) * R + r) * elements;
  }
};

// Where the right operand's pairs lie: vector v at step i is at<part>(v, i), 16 columns of 2.
template <int V>
struct Tiles {  // V panels of a matrix, or key tiles: [steps][16][2]
  const bf16* tile[V];
  template <int part>
  Right at(int v, size_t i) const {
    return load_pairs<part>(tile[v] + 32 * i);
  }
};
struct ValueLanes {  // a step's pair is an element each of two keys' values, which are lanes of pairs in the KV pool:
  const bf16* const* values;  // [2 * steps]
  size_t column;
  const bf16* of(size_t key, int v) const { return values[key] + 2 * (column + 16 * v); }
};
struct PairedValues : ValueLanes {  // of one pair,
  template <int part>
  Right at(int v, size_t i) const {
    return load_pairs<part>(of(2 * i, v));
  }
};
struct ValuesApart : ValueLanes {  // of any two,
  template <int part>
  Right at(int v, size_t i) const {
    return load_lanes<part>(of(2 * i, v), of(2 * i + 1, v));
  }
};
struct LastValue : ValueLanes {  // or of the first twice: what nobody sees is weighed by zero, but may be no number
  template <int part>
  Right at(int v, size_t i) const {
    return load_lanes<part>(of(2 * i, v), of(2 * i, v));
  }
};
struct Rows {               // a step's pair is one element each of two rows
  const bf16* const* rows;  // [2 * steps]
  size_t column;
  template <int part>
  Right at(int v, size_t i) const {
    return load_interleaved<part>(rows[2 * i] + column + 16 * v, rows[2 * i + 1] + column + 16 * v);
  }
};

// What a tile fetches along the way, at each of its steps.
struct Nothing {
  void at(size_t) const {}
};
template <int N>
struct Lines {  // a cache line of each of N streams, into L2: L1 has no room, and fewer fetches at once
  const char* first[N];
  void at(size_t i) const {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) __builtin_prefetch(first[n] + 64 * i, 0, 2);
  }
};
// Streams of as many cache lines each, `stride` bytes apart, one after another into L2: `per` lines every `steps`
// steps (two or more, so at most two lines a step), over all tiles that take it by reference, evenly. In bursts they
// would fill the queues that the tiles' own loads need.
static_assert(most_vectors <= 2 * 2);
struct Spread {
  const char *line, *end;  // of the stream
  size_t stride, rest;     // rest: from a stream's end to the next
  int per, steps, due = 0;
  Spread(const char* first, size_t lines, size_t stride, int per, int steps)
      : line(first), end(first + 64 * lines), stride(stride), rest(stride - 64 * lines), per(per), steps(steps) {}
  void at(size_t) {
    due += per;
    if (due < steps) return;
    fetch();
    if (due >= steps) fetch();
  }
  void fetch() {
    due -= steps;
    __builtin_prefetch(line, 0, 2);
    line += 64;
    if (line == end) {
      line += rest;
      end += stride;
    }
  }
};

// Inlined whatever g++ thinks of its size: called, it keeps the sums in memory, at 2.5 times the time.
template <int part, int R, int V, class A, class B>
[[gnu::always_inline]] inline void multiply(const A& a, const B& b, size_t i, Vec (&acc)[R][V]) {
  if constexpr (right_stays) {
    Right right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) right[v] = b.template at<part>(v, i);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = dot(acc[r][v], a.template at<part>(r, i), right[v]);
    }
  } else {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Right right = b.template at<part>(v, i);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) acc[r][v] = dot(acc[r][v], a.template at<part>(r, i), right);
    }
  }
}

// c [R][16 V] (+)= a [R][2 steps] . b: one accumulator an output, steps in order, so that splitting a sum over calls
// (`resume`) or rows over tiles changes no bit.
template <int R, int V, class A, class B, class Ahead = Nothing>
inline void tile(const A& a, const B& b, size_t steps, float* c, size_t c_stride, bool resume, Ahead&& ahead = {}) {
  static_assert(R * V <= accumulators);
  Vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = resume ? load(c + r * c_stride + 16 * v) : set1(0.0f);
  }
  auto fetches = ahead;  // a copy lives in registers
  for (size_t i = 0; i < steps; ++i) {
    fetches.at(i);
    multiply<0, R, V>(a, b, i, acc);
    if constexpr (pair_parts == 2) multiply<1, R, V>(a, b, i, acc);
  }
  ahead = fetches;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
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

// Cuts `count` things into as few parts of at most N as can be, as even as can be: f(constant of its size, first) for
// each part.
template <int N, class F>
inline void each_part(uint32_t count, const F& f) {
  const uint32_t parts = (count + N - 1) / N;
  for (uint32_t p = 0, first = 0; p < parts; ++p) {
    const uint32_t size = (count - first + parts - p - 1) / (parts - p);
    with_constant<N>(static_cast<int>(size), [&](auto constant) { f(constant, first); });
    first += size;
  }
}

}  // namespace
}  // namespace npr::compute
