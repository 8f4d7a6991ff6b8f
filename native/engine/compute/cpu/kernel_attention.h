// Attention over one chunk of keys, and the merging of partial softmaxes. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

constexpr float infinity = __builtin_inff();

// Line `line` of what `t.next` names behind each tile's keys (values = true) or of its keys: both are [next_tiles]
// [head_dim / 2] lines. Without a next chunk, a line that is at hand.
inline const char* next_line(const ChunkTask& t, bool values, uint32_t line) {
  if (!t.next.tile[0]) return reinterpret_cast<const char*>(t.values[0]);
  const uint32_t tile_lines = t.head_dim / 2;
  const uint32_t tile = line / tile_lines < next_tiles ? line / tile_lines : next_tiles - 1;
  return reinterpret_cast<const char*>(t.next.tile[tile]) + 64 * (line % tile_lines + (values ? tile_lines : 0));
}

// scores [R][64] = q . keys, unscaled. Keys that lie in a tile at other lanes than in the chunk are moved. Fetches the
// next chunk's keys: each step of a key tile a line.
template <int R>
inline void scores_of(const ChunkTask& t, const Operand* q, float* scores) {
  const ByRow left{q, t.head_dim};
  each_part<vectors_beside(R)>(t.piece_count, [&](auto v, uint32_t first) {
    constexpr int V = decltype(v)::value;
    const KeyPiece* p = t.pieces + first;
    Tiles<V> b;
    Lines<V> ahead;
    bool in_place = p[0].first + 16u * V <= chunk_keys;  // whole vectors are written, later pieces over their ends
    for (int i = 0; i < V; ++i) {
      b.tile[i] = p[i].tile;
      in_place = in_place && p[i].lane == 0 && p[i].first == p[0].first + tile_slots * i;
      ahead.first[i] = next_line(t, false, (first + i) * t.head_dim / 2);
    }
    if (in_place) return tile<R, V>(left, b, t.head_dim / 2, scores + p[0].first, chunk_keys, false, ahead);
    float lanes[R][16 * V];
    tile<R, V>(left, b, t.head_dim / 2, lanes[0], 16 * V, false, ahead);
    for (int r = 0; r < R; ++r) {
      for (int i = 0; i < V; ++i) {
        __builtin_memcpy(scores + r * chunk_keys + p[i].first, lanes[r] + 16 * i + p[i].lane,
                         p[i].count * sizeof(float));
      }
    }
  });
}

// Scores [R][64] to probabilities relative to the running maxima; what was summed so far is rescaled.
template <int R>
inline void softmax(const ChunkTask& t, uint32_t first, float (*scores)[chunk_keys]) {
  constexpr int vectors = chunk_keys / 16;
  float now[16] = {}, shrink[16] = {};  // of the R vectors, as lanes
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    for (uint32_t i = t.visible[first + r]; i < chunk_keys; ++i) scores[r][i] = -infinity;
    Vec s[vectors];
    for (int i = 0; i < vectors; ++i) {
      s[i] = load(scores[r] + 16 * i) * set1(t.scale);
      store(scores[r] + 16 * i, s[i]);
    }
    const float top = reduce_max(max(max(s[0], s[1]), max(s[2], s[3])));
    shrink[r] = t.max[first + r];
    now[r] = top > shrink[r] ? top : shrink[r];
  }
  store(shrink, exp_negative(load(shrink) - load(now)));
  Operand* probabilities = static_cast<Operand*>(t.probabilities) + first * chunk_keys;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    Vec p[vectors];
    for (int i = 0; i < vectors; ++i) {
      // the weights that are summed are those that are used, rounded
      p[i] = store_operands(probabilities + r * chunk_keys + 16 * i,
                            exp_negative(load(scores[r] + 16 * i) - set1(now[r])));
    }
    float& sum = t.sum[first + r];
    sum = sum * shrink[r] + reduce_add((p[0] + p[1]) + (p[2] + p[3]));
  }
  for (int r = 0; r < R; ++r) {
    if (now[r] == t.max[first + r]) continue;  // times one
    t.max[first + r] = now[r];
    float* out = t.out + (first + r) * size_t{t.head_dim};
    for (uint32_t i = 0; i < t.head_dim; i += 16) store(out + i, load(out + i) * set1(shrink[r]));
  }
}

// out [R][head_dim] += probabilities [R][2 steps] . values, those of the keys from `key` on. Fetches the next chunk's
// values: each step of sixteen columns a line.
template <int R, class B>
inline void weigh(const ChunkTask& t, const Operand* probabilities, uint32_t key, size_t steps, float* out) {
  each_part<vectors_beside(R)>(t.head_dim / 16, [&](auto v, uint32_t first) {
    constexpr int V = decltype(v)::value;
    Lines<V> ahead;
    for (int i = 0; i < V; ++i) ahead.first[i] = next_line(t, true, (first + i) * chunk_keys / 2);
    tile<R, V>(ByRow{probabilities + key, chunk_keys}, B{{t.values + key, 16 * size_t{first}}}, steps, out + 16 * first,
               t.head_dim, true, ahead);
  });
}

// out += probabilities . values. Keys that all vectors of a tile see come first; the pairs that only some see, and an
// odd last key, are each vector's own.
template <class B>
inline void add_values(const ChunkTask& t) {
  each_part<tile_rows>(t.vectors, [&](auto r, uint32_t first) {
    constexpr int R = decltype(r)::value;
    const Operand* probabilities = static_cast<const Operand*>(t.probabilities) + first * chunk_keys;
    float* out = t.out + first * size_t{t.head_dim};
    uint32_t common = chunk_keys / 2;
    for (int i = 0; i < R; ++i) common = t.visible[first + i] / 2u < common ? t.visible[first + i] / 2u : common;
    weigh<R, B>(t, probabilities, 0, common, out);
    for (int i = 0; i < R; ++i) {
      const uint32_t seen = t.visible[first + i];
      const Operand* p = probabilities + i * chunk_keys;
      float* row = out + i * size_t{t.head_dim};
      if (seen / 2 > common) weigh<1, B>(t, p, 2 * common, seen / 2 - common, row);
      if (seen % 2 == 1) weigh<1, LastValue>(t, p, seen - 1, 1, row);
    }
  });
}

void attend(const ChunkTask& t) {
  each_part<tile_rows>(t.vectors, [&](auto r, uint32_t first) {
    constexpr int R = decltype(r)::value;
    float scores[R][chunk_keys];
    scores_of<R>(t, static_cast<const Operand*>(t.q) + first * size_t{t.head_dim}, scores[0]);
    softmax<R>(t, first, scores);
  });
  t.paired ? add_values<PairedValues>(t) : add_values<ValuesApart>(t);
}

void merge(float* max, float* sum, float* out, float span_max, float span_sum, const float* span_out, uint32_t n) {
  if (span_sum == 0) return;
  const float now = span_max > *max ? span_max : *max;
  const float keep = exp(*max - now), take = exp(span_max - now);
  *max = now;
  *sum = *sum * keep + span_sum * take;
  for (uint32_t i = 0; i < n; i += 16) {
    store(out + i, fma(load(span_out + i), set1(take), load(out + i) * set1(keep)));
  }
}

void finish(const float* x, float sum, uint32_t n, bf16* out) {
  for (uint32_t i = 0; i < n; i += 16) store_bf16(out + i, load(x + i) / set1(sum));
}

}  // namespace
}  // namespace npr::compute
