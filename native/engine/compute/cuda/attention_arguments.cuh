// What the kernels of attention are given, and the shape of their blocks.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_plan.h"
#include "compute/cuda/attention_softmax.cuh"

namespace npr::compute {

// The plan in device memory: this, the items, then arrays that begin so many bytes behind its start.
struct alignas(16) AttentionHeader {
  uint32_t items, merges;
  uint32_t rows_at, merges_at, paths_at, runs_at;

  __device__ const AttentionItem& item(uint32_t i) const { return reinterpret_cast<const AttentionItem*>(this + 1)[i]; }
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
  UnitSum* partial_sums;          // [partials, q_heads]
  uint32_t pool_slots, kv_heads, group, head_dim;
  float scale;  // log2(e) / sqrt(head_dim)
};

constexpr uint32_t attention_vectors = 64;

// A block's warpgroups take the same 64 query vectors, a row of an item's `group` heads after the other, and of the
// output a share of the D columns each (for which each computes all scores anew, cheaper than to exchange them).
// `stages` chunks of keys and values are on their way or at work.
template <int D_>
struct AttentionShape {
  static constexpr int D = D_, warpgroups = D == 256 ? 2 : 1, columns = D / warpgroups;
  static constexpr int stages = D == 64 ? 4 : D == 128 ? 3 : 2;
  static constexpr uint32_t threads = 128 * warpgroups, warps = threads / 32, pieces = D / 8;
  // Shared memory: queries, stages of keys and values. As much as two blocks of a multiprocessor can have (D <= 128).
  static constexpr uint32_t tile_bytes = 64 * D * 2, bytes = tile_bytes * (1 + 2 * stages);
  static_assert(chunk_keys == 64);
};

}  // namespace npr::compute
