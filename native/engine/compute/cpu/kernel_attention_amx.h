// Attention over one chunk of keys by AMX: scores are queries times key tiles, weighted values probabilities times
// values interleaved into tiles once for all query vectors. Included by kernels_amx.cc alone, after tile_amx.h.
#pragma once

namespace npr::compute {
namespace {

// scores [rows][64] = q [rows, head_dim] . keys, unscaled. Fetches share `turn` of `turns` of the next chunk's keys.
inline void amx_scores(const ChunkTask& t, const bf16* q, uint32_t rows, uint32_t turn, uint32_t turns, float* scores) {
  const uint32_t lines = t.head_dim / 2;
  each_sums(rows, t.piece_count, [&](auto a, auto v, uint32_t first) {
    constexpr int A = decltype(a)::value, V = decltype(v)::value;
    const KeyPiece* p = t.pieces + first;
    RightLines<V> right;
    bool in_place = p[0].first + 16u * V <= chunk_keys;  // whole vectors are written, later pieces over their ends
    for (int i = 0; i < V; ++i) {
      right.line[i] = reinterpret_cast<const std::byte*>(p[i].tile);
      in_place = in_place && p[i].lane == 0 && p[i].first == p[0].first + tile_slots * i;
    }
    zero_sums();
    multiply_lines<A, V>(q, t.head_dim * sizeof(bf16), rows, right, lines, [&](uint32_t step) {
      if (step % turns != turn) return;
      for (int i = 0; i < V; ++i) fetch_lines(next_line(t, false, (first + i) * lines + step_lines * step), step_lines);
    });
    if (in_place) return store_sums<A, V>(scores + p[0].first, chunk_keys * sizeof(float));
    alignas(64) float lanes[A * tile_height][16 * V];
    store_sums<A, V>(lanes[0], sizeof lanes[0]);
    settle_memory();
    for (uint32_t r = 0; r < rows; ++r) {
      for (int i = 0; i < V; ++i) {
        __builtin_memcpy(scores + r * chunk_keys + p[i].first, lanes[r] + 16 * i + p[i].lane,
                         p[i].count * sizeof(float));
      }
    }
  });
}

// out [2][columns][16 lines] = the first `keys` values, zeros behind them: line i of a step pairs keys 2 i and 2 i + 1.
// Says whether all are finite. Fetches the next chunk's values.
inline bool interleave_values(const ChunkTask& t, uint32_t keys, std::byte* out) {
  static constexpr bf16 zeros[256] = {};  // head_dim is at most 256
  const uint32_t columns = t.head_dim / 16;
  __m512i largest = _mm512_setzero_si512();  // magnitude
  for (uint32_t pair = 0; pair < chunk_keys / 2; ++pair) {
    const bf16* even = 2 * pair < keys ? t.values[2 * pair] : zeros;
    const bf16* odd = 2 * pair + 1 < keys ? t.values[2 * pair + 1] : zeros;
    std::byte* to = out + pair / step_lines * columns * step_bytes + pair % step_lines * line_bytes;
    fetch_lines(next_line(t, true, pair * columns), columns);
    for (uint32_t c = 0; c < columns; ++c) {
      const auto line = reinterpret_cast<__m512i>(load_interleaved<0>(even + 16 * c, odd + 16 * c));
      largest = _mm512_max_epu16(largest, _mm512_and_si512(line, _mm512_set1_epi16(0x7fff)));
      _mm512_store_si512(to + c * step_bytes, line);
    }
  }
  return _mm512_cmpge_epu16_mask(largest, _mm512_set1_epi16(0x7f80)) == 0;
}

// out += probabilities . values, for vectors [first, end).
inline void amx_weigh(const ChunkTask& t, uint32_t first, uint32_t end, const std::byte* values, Shape& shape) {
  const uint32_t columns = t.head_dim / 16;
  const size_t row_bytes = t.head_dim * sizeof(float);
  each_two_tiles(end - first, [&](uint32_t at, uint32_t rows) {
    shape.require(rows);
    const auto* p =
        reinterpret_cast<const std::byte*>(static_cast<const bf16*>(t.probabilities) + (first + at) * chunk_keys);
    float* out = t.out + (first + at) * size_t{t.head_dim};
    each_sums(rows, columns, [&](auto a, auto v, uint32_t column) {
      constexpr int A = decltype(a)::value, V = decltype(v)::value;
      RightLines<V> right;
      for (int i = 0; i < V; ++i) right.line[i] = values + (column + i) * step_bytes;
      load_sums<A, V>(out + 16 * column, row_bytes);
      multiply_step<A, V>(p, chunk_keys * sizeof(bf16), right, 0);
      multiply_step<A, V>(p + 64, chunk_keys * sizeof(bf16), right, columns * step_bytes);
      store_sums<A, V>(out + 16 * column, row_bytes);
    });
  });
}

void amx_attend(const ChunkTask& t) {
  Shape shape;
  const uint32_t turns = (t.vectors + 2 * tile_height - 1) / (2 * tile_height);
  bool all_see_all = true;
  each_two_tiles(t.vectors, [&](uint32_t first, uint32_t rows) {
    alignas(64) float scores[2 * tile_height][chunk_keys];
    shape.require(rows);
    amx_scores(t, static_cast<const bf16*>(t.q) + first * size_t{t.head_dim}, rows, first / (2 * tile_height), turns,
               scores[0]);
    settle_memory();
    each_part<tile_rows>(rows, [&](auto r, uint32_t at, uint32_t, uint32_t) {
      softmax<decltype(r)::value>(t, first + at, scores + at);
    });
    for (uint32_t i = 0; i < rows; ++i) all_see_all = all_see_all && t.visible[first + i] == t.keys;
  });
  alignas(64) std::byte values[chunk_keys * 256 * sizeof(bf16)];
  const bool finite = interleave_values(t, t.keys, values);
  settle_memory();
  if (finite || all_see_all) return amx_weigh(t, 0, t.vectors, values, shape);
  // Zero times what a vector does not see must be zero: those that see equally many keys have tiles of their own.
  for (uint32_t first = 0, end; first < t.vectors; first = end) {
    for (end = first + 1; end < t.vectors && t.visible[end] == t.visible[first];) ++end;
    interleave_values(t, t.visible[first], values);
    settle_memory();
    amx_weigh(t, first, end, values, shape);
  }
}

}  // namespace
}  // namespace npr::compute
