// What the kernels of attention are given, and the shape of their blocks.
#pragma once
#include <cuda.h>

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

// Keys and values [kv heads * slots, head_dim] of a layer, in boxes of 64 rows and 64 columns. Not read before sm_90.
struct AttentionKeyMaps {
  CUtensorMap keys, values;
};

// A block has `Tiles` tiles of 64 query vectors, a row's `group` heads after the other's, which share the way of keys
// and values; a warpgroup takes a tile and of its output `columns` (so that with D = 256 two compute the same scores,
// cheaper than to exchange them). Of `stages` chunks of keys and values `ahead` are on their way or there when one is
// taken: one less than stages, or two, for the warpgroups of tiles to drift apart.
template <int D_, int Tiles_>
struct AttentionShape {
  static constexpr int D = D_, Tiles = Tiles_, warpgroups = D == 256 ? 2 : Tiles, columns = D == 256 ? 128 : D;
  static constexpr int stages = D == 64 ? 4 + Tiles : D == 128 ? 1 + 2 * Tiles : 2, ahead = stages - Tiles;
  static constexpr uint32_t threads = 128 * warpgroups, warps = threads / 32, vectors = 64 * Tiles, pieces = D / 8;
  static constexpr int blocks = warpgroups == 1 ? 2 : 1;  // of a multiprocessor
  // Shared memory: tiles of queries, stages of keys and values, two barriers a stage.
  static constexpr uint32_t tile_bytes = 64 * D * 2, ring_at = Tiles * tile_bytes,
                            barriers_at = ring_at + stages * 2 * tile_bytes, bytes = barriers_at + 16 * stages;
  static_assert(chunk_keys == 64 && bytes <= (228 * 1024 / blocks - 1024) && (D < 256 || Tiles == 1));
};

}  // namespace npr::compute
