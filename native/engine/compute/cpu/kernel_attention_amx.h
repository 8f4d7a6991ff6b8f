// Attention over one chunk of keys by AMX: scores are queries times key tiles, weighted values probabilities times
// values put together as tiles once for all query vectors. Included by kernels_amx.cc alone, after tile_amx.h and
// kernel_softmax_amx.h.
#pragma once

namespace npr::compute {
namespace {

// Query vectors are taken a tile of them at a time, with four tiles of keys or of values' columns beside it: two tiles
// with two take a fifth longer.
template <class F>
inline void each_tile(uint32_t vectors, const F& f) {
  for (uint32_t first = 0; first < vectors; first += tile_height) {
    f(first, vectors - first < tile_height ? vectors - first : tile_height);
  }
}

// f(constant of their number, first) for up to four of `columns` at once.
template <class F>
inline void each_four(uint32_t columns, const F& f) {
  for (uint32_t first = 0; first < columns; first += 4) {
    with_constant<4>(static_cast<int>(columns - first < 4 ? columns - first : 4), [&](auto v) { f(v, first); });
  }
}

// Of 32 keys each.
inline uint32_t steps_of(uint32_t keys) { return (keys + 31) / 32; }

// scores [rows][64] = q [rows, head_dim] . keys, unscaled. Fetches share `turn` of `turns` of the next chunk's keys.
inline void amx_scores(const ChunkTask& t, const bf16* q, uint32_t rows, uint32_t turn, uint32_t turns, float* scores) {
  const uint32_t lines = t.head_dim / 2;
  each_four(t.piece_count, [&](auto v, uint32_t first) {
    constexpr int V = decltype(v)::value;
    const KeyPiece* p = t.pieces + first;
    RightLines<V> right;
    bool in_place = p[0].first + 16u * V <= chunk_keys;  // whole vectors are written, later pieces over their ends
    for (int i = 0; i < V; ++i) {
      right.line[i] = reinterpret_cast<const std::byte*>(p[i].tile);
      in_place = in_place && p[i].lane == 0 && p[i].first == p[0].first + tile_slots * i;
    }
    zero_sums();
    const Share share(turn, turns);
    multiply_lines<1, V>(plain_rows(q, t.head_dim * sizeof(bf16)), rows, right, lines, [&](uint32_t step) {
      for (int i = 0; i < V; ++i) share.fetch<l1>(next_line(t, false, (first + i) * lines + step_lines * step));
    });
    if (in_place) return store_sums<1, V>(scores + p[0].first, chunk_keys * sizeof(float));
    alignas(64) float lanes[tile_height][16 * V];
    store_sums<1, V>(lanes[0], sizeof lanes[0]);
    settle_memory();
    for (int i = 0; i < V; ++i) {
      const auto written = static_cast<__mmask16>(((1u << p[i].count) - 1) << p[i].lane);
      const ptrdiff_t at = ptrdiff_t{p[i].first} - p[i].lane;  // a lane that is not written may lie before the row
      for (uint32_t r = 0; r < rows; ++r) {
        _mm512_mask_storeu_ps(scores + (r * ptrdiff_t{chunk_keys} + at), written, load(lanes[r] + 16 * i).v);
      }
    }
  });
}

// Columns [first, first + W) of the first `keys` values as tiles: out [W][2 steps][16 lines], a line pairs two keys,
// zeros behind them up to a step's end. Says whether all are finite, if that is to be checked. Fetches the next chunk's
// values.
template <int W, bool check>
inline bool tile_values(const ChunkTask& t, uint32_t keys, uint32_t first, std::byte* out) {
  const uint32_t columns = t.head_dim / 16, pairs = steps_of(keys) * step_lines;
  const char* ahead[next_tiles];
  for (uint32_t n = 0; n < next_tiles; ++n) ahead[n] = next_line(t, true, n * t.head_dim / 2 + first);
  __m512i largest = _mm512_setzero_si512();  // magnitude
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    // of a line's elements those that exist: the first key's, the second's
    const __mmask32 even = 2 * pair < keys ? 0x55555555 : 0, odd = 2 * pair + 1 < keys ? 0xaaaaaaaa : 0;
    const bf16* a = t.values[even ? 2 * pair : 0] + 32 * first;
    const bf16* b = t.values[odd ? 2 * pair + 1 : 0] + 32 * first;
    const char* lines = ahead[pair / (tile_slots / 2)] + pair % (tile_slots / 2) * columns * line_bytes;
#pragma GCC unroll 4
    for (uint32_t c = 0; c < W; ++c) {
      __builtin_prefetch(lines + c * line_bytes, 0, 3);
      const __m512i line = t.paired ? _mm512_maskz_loadu_epi16(even | odd, a + 32 * c)
                                    : _mm512_maskz_mov_epi16(
                                          even | odd, reinterpret_cast<__m512i>(load_lanes<0>(a + 32 * c, b + 32 * c)));
      if (check) largest = _mm512_max_epu16(largest, _mm512_and_si512(line, _mm512_set1_epi16(0x7fff)));
      _mm512_store_si512(out + 2 * c * step_bytes + pair * line_bytes, line);
    }
  }
  settle_memory();
  return _mm512_cmpge_epu16_mask(largest, _mm512_set1_epi16(0x7f80)) == 0;
}

// out [rows][16 V] += probabilities . values, as tile_values() leaves them
template <int V>
inline void amx_weigh(const ChunkTask& t, uint32_t first, uint32_t column, uint32_t steps, const std::byte* values) {
  float* out = t.out + first * size_t{t.head_dim} + 16 * column;
  RightLines<V> right;
  for (int i = 0; i < V; ++i) right.line[i] = values + 2 * i * step_bytes;
  load_sums<1, V>(out, t.head_dim * sizeof(float));
  const LeftRows left =
      plain_rows(static_cast<const bf16*>(t.probabilities) + first * chunk_keys, chunk_keys * sizeof(bf16));
  for (uint32_t i = 0; i < steps; ++i) multiply_step<1, V>(left, right, i);
  store_sums<1, V>(out, t.head_dim * sizeof(float));
}

// out += probabilities . values. A step whose keys a vector does not see adds 0 to its sums.
inline void amx_add_values(const ChunkTask& t, bool all_see_all, Shape& shape) {
  each_four(t.head_dim / 16, [&](auto v, uint32_t column) {
    constexpr int V = decltype(v)::value;
    alignas(64) std::byte values[2 * V * step_bytes];
    const auto weigh = [&](uint32_t begin, uint32_t end, uint32_t keys) {
      each_tile(end - begin, [&](uint32_t at, uint32_t rows) {
        shape.require(rows);
        amx_weigh<V>(t, begin + at, column, steps_of(keys), values);
      });
    };
    const bool alike = all_see_all ? tile_values<V, false>(t, t.keys, column, values)
                                   : tile_values<V, true>(t, t.keys, column, values);
    if (alike) return weigh(0, t.vectors, t.keys);
    // Zero times what a vector does not see must be zero: those that see equally many keys have tiles of their own.
    for (uint32_t first = 0, end; first < t.vectors; first = end) {
      for (end = first + 1; end < t.vectors && t.visible[end] == t.visible[first];) ++end;
      tile_values<V, false>(t, t.visible[first], column, values);
      weigh(first, end, t.visible[first]);
    }
  });
}

void amx_attend(const ChunkTask& t) {
  Shape shape;
  const uint32_t turns = (t.vectors + tile_height - 1) / tile_height;
  bool all_see_all = true;
  each_tile(t.vectors, [&](uint32_t first, uint32_t rows) {
    alignas(64) float scores[tile_height][chunk_keys];
    shape.require(rows);
    amx_scores(t, static_cast<const bf16*>(t.q) + first * size_t{t.head_dim}, rows, first / tile_height, turns,
               scores[0]);
    settle_memory();
    amx_softmax(t, first, rows, scores);
    for (uint32_t i = 0; i < rows; ++i) all_see_all = all_see_all && t.visible[first + i] == t.keys;
  });
  amx_add_values(t, all_see_all, shape);
}

}  // namespace
}  // namespace npr::compute
