// What the kernels of attention are given, and how their blocks divide it.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_plan.h"
#include "compute/cuda/attention_softmax.cuh"

namespace npr::compute {

constexpr uint32_t attention_threads = 128;
constexpr uint32_t attention_total_pieces = 34;  // float4s of a thread's outputs and sums, at most

// The plan in device memory: this, then arrays that begin so many bytes behind its start.
struct AttentionHeader {
  uint32_t items, merges;
  uint32_t rows_at, items_at, merges_at, ids_at, paths_at, runs_at;

  template <class T>
  __device__ const T* array(uint32_t at) const {
    return reinterpret_cast<const T*>(reinterpret_cast<const uint8_t*>(this) + at);
  }
};

struct AttentionArguments {
  const AttentionHeader* plan;
  const Slot* slots;              // of all paths
  const uint16_t *keys, *values;  // [kv head][slot][head_dim]
  const uint16_t* q;              // [rows, q_heads, head_dim]
  uint16_t* out;                  // [rows, q_heads, head_dim]
  float* log_sums;                // [rows, q_heads], or null
  float* partial_outs;            // [partials, q_heads, D]
  SpanSum* partial_sums;          // [partials, q_heads]
  float4* totals;                 // [blocks][pieces of a thread][threads]: outputs of an item's spans so far
  uint32_t pool_slots, kv_heads, group, head_dim;
  float scale;  // log2(e) / sqrt(head_dim)
};

// How the four warps of a block divide an item: `row_warps` times `tiles` tiles of 16 query vectors, by `column_warps`
// parts of the output's D columns (for which each computes all scores anew, cheaper than to exchange them). `stages`
// chunks of keys and values are on their way or at work.
template <int D_, int tiles_, int row_warps_, int column_warps_, int stages_>
struct AttentionShape {
  static constexpr int D = D_, tiles = tiles_, row_warps = row_warps_, column_warps = column_warps_, stages = stages_;
  static constexpr int vectors = 16 * tiles * row_warps, columns = D / column_warps, pieces = D / 8;
  static constexpr uint32_t chunk_bytes = chunk_keys * D * 2;
  // Shared memory: queries, stages of keys and values, slots of chunks to come, rows, keys that each vector sees.
  static constexpr uint32_t chunks_at = vectors * D * 2, slots_at = chunks_at + stages * 2 * chunk_bytes,
                            slot_ring = 2 * stages, rows_at = slots_at + slot_ring * chunk_keys * 4,
                            visible_at = rows_at + vectors * sizeof(AttentionRow), bytes = visible_at + vectors * 4;
  static_assert(row_warps * column_warps * 32 == attention_threads &&
                tiles * (columns / 8 + 1) <= attention_total_pieces);
};
template <int D>
using NarrowShape = AttentionShape<D, 1, 1, 4, D == 256 ? 2 : 3>;
template <int D>
using MiddleShape = AttentionShape<D, 2, 1, 4, D == 256 ? 2 : 3>;
template <int D>
using WideShape = AttentionShape<D, 2, D == 256 ? 2 : 4, D == 256 ? 2 : 1, 2>;

}  // namespace npr::compute
