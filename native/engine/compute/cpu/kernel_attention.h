// Attention over one chunk of keys, and the merging of partial softmaxes. Included once per instruction set.
#pragma once

namespace npr::compute {
namespace {

constexpr float infinity = __builtin_inff();

// scores [R][64] = q . keys, unscaled. Keys that lie in a tile at other lanes than in the chunk are moved.
template <int R>
inline void scores_of(const ChunkTask& t, const bf16* q, float* scores) {
  for (uint32_t first = 0; first < t.piece_count; first += tile_vectors) {
    const KeyPiece* p = t.pieces + first;
    const uint32_t left = t.piece_count - first;
    with_constant<tile_vectors>(static_cast<int>(left < tile_vectors ? left : tile_vectors), [&](auto v) {
      constexpr int V = decltype(v)::value;
      Tiles<V> b;
      bool in_place = p[0].first + 16u * V <= chunk_keys;  // whole vectors are written, later pieces over their ends
      for (int i = 0; i < V; ++i) {
        b.tile[i] = p[i].tile;
        in_place = in_place && p[i].lane == 0 && p[i].first == p[0].first + tile_slots * i;
      }
      if (in_place) {
        return tile<R, V, 0>(q, t.head_dim, b, t.head_dim / 2, scores + p[0].first, chunk_keys, false);
      }
      float lanes[R][16 * V];
      tile<R, V, 0>(q, t.head_dim, b, t.head_dim / 2, lanes[0], 16 * V, false);
      for (int r = 0; r < R; ++r) {
        for (int i = 0; i < V; ++i) {
          __builtin_memcpy(scores + r * chunk_keys + p[i].first, lanes[r] + 16 * i + p[i].lane,
                           p[i].count * sizeof(float));
        }
      }
    });
  }
}

// One vector's scores [64] to probabilities [64] relative to the running maximum; what was summed so far is rescaled.
inline void softmax(float* scores, uint32_t visible, float scale, uint32_t head_dim, float& max, float& sum, float* out,
                    bf16* probabilities) {
  constexpr int vectors = chunk_keys / 16;
  for (uint32_t i = visible; i < chunk_keys; ++i) scores[i] = -infinity;
  Vec s[vectors];
  for (int i = 0; i < vectors; ++i) s[i] = load(scores + 16 * i) * set1(scale);
  const float top = reduce_max(compute::max(compute::max(s[0], s[1]), compute::max(s[2], s[3])));
  const float now = top > max ? top : max;
  Vec p[vectors];
  for (int i = 0; i < vectors; ++i) {
    store_bf16(probabilities + 16 * i, exp(s[i] - set1(now)));
    p[i] = load_bf16(probabilities + 16 * i);  // the weights sum to one as they are used, rounded
  }
  const float added = reduce_add((p[0] + p[1]) + (p[2] + p[3]));
  if (now != max) {
    const float shrink = exp(max - now);
    sum *= shrink;
    for (uint32_t i = 0; i < head_dim; i += 16) store(out + i, load(out + i) * set1(shrink));
    max = now;
  }
  sum += added;
}

// out [rows, head_dim] += probabilities . values, over pairs of keys [first, first + pairs).
inline void add_values(const bf16* probabilities, uint32_t rows, const bf16* values, uint32_t head_dim, uint32_t first,
                       uint32_t pairs, float* out) {
  for (uint32_t column = 0; column < head_dim;) {
    const uint32_t vectors = (head_dim - column) / 16;
    with_constant<tile_vectors>(static_cast<int>(vectors < tile_vectors ? vectors : tile_vectors), [&](auto v) {
      constexpr int V = decltype(v)::value;
      const Columns b{values + (first * size_t{head_dim} + column) * 2, 2 * size_t{head_dim}};
      tile_rows_of<V>(probabilities + 2 * first, chunk_keys, rows, b, pairs, out + column, head_dim, true);
      column += 16 * V;
    });
  }
}

// A vector that sees an odd number of keys pairs the last one with zero, whatever its neighbour holds.
inline void add_last_value(const bf16* probabilities, const bf16* value, uint32_t head_dim, uint32_t key, float* out) {
  static constexpr bf16 zeros[16] = {};
  const bf16 pair[2] = {probabilities[key], 0};
  for (uint32_t column = 0; column < head_dim; column += 16) {
    bf16 pairs[32];
    interleave(value + column, zeros, pairs);
    tile<1, 1, 0>(pair, 0, Columns{pairs, 32}, 1, out + column, 0, true);
  }
}

void attend(const ChunkTask& t) {
  bf16* probabilities = t.scratch;                    // [vectors][64]
  bf16* values = t.scratch + t.vectors * chunk_keys;  // [keys / 2][head_dim][2]
  for (uint32_t first = 0; first < t.vectors; first += tile_rows) {
    const uint32_t left = t.vectors - first;
    with_constant<tile_rows>(static_cast<int>(left < tile_rows ? left : tile_rows), [&](auto r) {
      constexpr int R = decltype(r)::value;
      float scores[R][chunk_keys];
      scores_of<R>(t, t.q + first * size_t{t.head_dim}, scores[0]);
      for (uint32_t i = 0; i < R; ++i) {
        const uint32_t n = first + i;
        softmax(scores[i], t.visible[n], t.scale, t.head_dim, t.max[n], t.sum[n], t.out + n * size_t{t.head_dim},
                probabilities + n * chunk_keys);
      }
    });
  }

  const uint32_t pairs = t.keys / 2;  // whole ones
  for (uint32_t i = 0; i < pairs; ++i) {
    for (uint32_t column = 0; column < t.head_dim; column += 16) {
      interleave(t.values[2 * i] + column, t.values[2 * i + 1] + column, values + (i * t.head_dim + column) * 2);
    }
  }
  for (uint32_t first = 0; first < t.vectors;) {
    // vectors that see the same keys go together
    uint32_t end = first + 1;
    while (end < t.vectors && t.visible[end] == t.visible[first]) ++end;
    const uint32_t seen = t.visible[first];
    float* out = t.out + first * size_t{t.head_dim};
    add_values(probabilities + first * chunk_keys, end - first, values, t.head_dim, 0, seen / 2, out);
    if (seen % 2) {
      for (uint32_t n = first; n < end; ++n) {
        add_last_value(probabilities + n * chunk_keys, t.values[seen - 1], t.head_dim, seen - 1,
                       t.out + n * size_t{t.head_dim});
      }
    }
    first = end;
  }
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
