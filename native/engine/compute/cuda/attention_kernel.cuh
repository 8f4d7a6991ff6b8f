// Attention of one item: some rows' query vectors, of the heads that share a KV head, against units of one path.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"
#include "compute/cuda/attention_chunks.cuh"
#include "compute/cuda/attention_fold.cuh"
#include "compute/cuda/attention_swizzle.cuh"
#include "compute/cuda/gemm_ptx.cuh"

namespace npr::compute {

// Whether a unit ends at this multiple of chunk_keys.
__device__ inline bool ends_unit(uint32_t key) { return key % (key < short_keys ? short_unit : long_unit) == 0; }

template <class S>
struct AttentionItemRun {
  const AttentionArguments& a;
  AttentionChunks<S>& chunks;
  const AttentionItem& item = chunks.item;
  const uint32_t head = chunks.head;
  uint8_t* const memory;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = item.rows * a.group;
  const AttentionRow* const order = a.plan->array<AttentionRow>(a.plan->rows_at) + item.first;
  AttentionFold<S> fold{a.scale};

  // Of [rows, q_heads]
  __device__ __forceinline__ size_t query_of(uint32_t vector) const {
    return size_t{order[vector / a.group].row} * (a.kv_heads * a.group) + head * a.group + vector % a.group;
  }

  // A warp copies some neighbouring vectors, a lane always the same piece of them.
  static constexpr uint32_t warp_vectors = S::vectors / S::warps, step_vectors = 32 / S::pieces;
  // Of the warp's vectors, a lane's.
  __device__ __forceinline__ uint32_t own_query() const {
    const uint32_t vector = warp * warp_vectors + lane % warp_vectors;
    return static_cast<uint32_t>(vector < count ? query_of(vector) : 0);  // fewer than 2^32
  }
  __device__ __forceinline__ void load_queries(uint32_t own) const {
    constexpr uint32_t steps = warp_vectors / step_vectors;
    const uint32_t piece = lane % S::pieces, first = warp * warp_vectors + lane / S::pieces;
    uint4 x[steps];
#pragma unroll
    for (uint32_t step = 0; step < steps; ++step) {
      const uint32_t vector = first + step * step_vectors;
      const size_t at = __shfl_sync(all_lanes, own, vector % warp_vectors);
      const bool real = vector < count && piece * 8 < a.head_dim;
      x[step] = real ? *reinterpret_cast<const uint4*>(a.q + at * a.head_dim + piece * 8) : uint4{};
    }
#pragma unroll
    for (uint32_t step = 0; step < steps; ++step) {
      const uint32_t vector = first + step * step_vectors;
      *reinterpret_cast<uint4*>(memory + vector / 64 * S::tile_bytes + swizzled(vector % 64, piece)) = x[step];
    }
  }

  // `waited`: for what the kernels before this one write. Keys and values that they do not are fetched before.
  __device__ __forceinline__ void run(bool& waited) {
    const auto wait = [&] {
      if (!waited) ptx::wait_for_dependencies();
      waited = true;
    };
    const uint32_t all = chunks.count();
    if (item.slot == scattered) wait();
    __syncthreads();  // the item before has been read
    for (uint32_t chunk = 0; chunk < S::ahead; ++chunk) {
      if (chunk < all && min(item.end, chunks.first_key(chunk + 1)) > item.settled) wait();
      chunks.start(chunk, chunks.slots(chunk));
    }
    ChunkSlots slots = chunks.slots(S::ahead);
    read_visible();
    const uint32_t own = own_query();
    wait();
    load_queries(own);
    fold.begin();
    Weights weights{};
    for (uint32_t chunk = 0; chunk < all;) {
      bool fresh = true;
      do {
        take(chunk, fresh, slots, weights);
        fresh = false;
      } while (++chunk < all && !ends_unit(chunks.first_key(chunk)));
      finish_products<S::columns>(fold.out);
      fold.end_unit();
    }
    chunks.let_go(all - 1);
    write();
  }

  // Folds a chunk into the unit, while others are on their way. Its output is still at work where the next chunk's
  // scores are started.
  __device__ __forceinline__ void take(uint32_t chunk, bool fresh, ChunkSlots& slots, Weights& weights) {
    chunks.wait(chunk);
    const uint32_t key = chunks.first_key(chunk), keys = __shfl_sync(all_lanes, chunks.at(chunk), 0);
    const uint32_t tile = __shfl_sync(all_lanes, own_tile(), 0), part = __shfl_sync(all_lanes, own_part(), 0);
    bool dropped = false;
    if (item.least < key + chunk_keys) dropped = __syncthreads_or(chunks.drop_not_finite(chunk, memory));
    if (chunk == 0 || !chunks.boxed_at(chunk) || item.least < key + chunk_keys) {
      fence_operands();
      __syncthreads();
    }
    Fragment<64> scores;
    start_scores<S::D>(__shfl_sync(all_lanes, chunks.base, 0) + tile * S::tile_bytes, keys, scores);
    finish_products<64>(scores);
    finish_products<S::columns>(fold.out);
    if (chunk > 0) chunks.let_go(chunk - 1);
    chunks.start(chunk + S::ahead, slots);
    slots = chunks.slots(chunk + S::ahead + 1);
    const bool at_work = first_vector() < count;
    if (at_work) {
      fold.hide(key, scores);
      fold.soften(scores, fresh, weights);
    }
    start_output<S::columns>(weights, keys + S::tile_bytes + part * (S::columns / 64) * tile_panel, fresh, fold.out);
    if (dropped && at_work) {
      finish_products<S::columns>(fold.out);
      const uint32_t column = first_column();
      const uint16_t* const values = a.values + size_t{head} * a.pool_slots * a.head_dim + column;
      fold.add_not_finite(weights, key, item.end, a.head_dim > column ? a.head_dim - column : 0,
                          [&](uint32_t i) { return values + size_t{chunks.slot_of(key + i)} * a.head_dim; });
    }
  }

  // The warpgroup's tile of vectors, and part of the columns.
  __device__ __forceinline__ uint32_t own_tile() const { return S::Tiles == 1 ? 0 : warp / 4; }
  __device__ __forceinline__ uint32_t own_part() const { return S::Tiles == 1 ? warp / 4 : 0; }
  __device__ __forceinline__ uint32_t first_vector() const { return own_tile() * 64 + warp % 4 * 16; }
  __device__ __forceinline__ uint32_t vector_of(uint32_t half) const { return first_vector() + half * 8 + lane / 4; }
  __device__ __forceinline__ uint32_t first_column() const { return own_part() * S::columns + lane % 4 * 2; }

  // Vectors beyond the item's, zeros, see what the last does, so that they neither widen nor narrow anything.
  __device__ __forceinline__ void read_visible() {
    for (int half = 0; half < 2; ++half) fold.visible[half] = order[min(vector_of(half), count - 1) / a.group].visible;
    fold.least = __reduce_min_sync(all_lanes, min(fold.visible[0], fold.visible[1]));
  }

  // Rows that see no other units are done; of others it is a partial result.
  __device__ __forceinline__ void write() {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t vector = vector_of(half);
      if (vector >= count) continue;
      const uint32_t column = first_column();
      const UnitSum sum = fold.sum[half];
      const bool first = column == 0;
      if (item.begin == 0 && fold.visible[half] <= item.limit) {
        const size_t at = query_of(vector);
        if (first && a.log_sums) a.log_sums[at] = log_sum(sum);
        uint16_t* const to = a.out + at * a.head_dim;
#pragma unroll
        for (int n = 0; n < S::columns / 8; ++n) {
          if (column + 8 * n >= a.head_dim) continue;
          *reinterpret_cast<uint32_t*>(to + column + 8 * n) =
              round_pair(finished(fold.total[n][2 * half], sum.sum), finished(fold.total[n][2 * half + 1], sum.sum));
        }
      } else {
        const uint32_t partial = order[vector / a.group].partials + item.last_unit;
        const size_t at = size_t{partial} * (a.kv_heads * a.group) + head * a.group + vector % a.group;
        if (first) a.partial_sums[at] = sum;
        float* const to = a.partial_outs + at * S::D;
#pragma unroll
        for (int n = 0; n < S::columns / 8; ++n) {
          *reinterpret_cast<float2*>(to + column + 8 * n) = {fold.total[n][2 * half], fold.total[n][2 * half + 1]};
        }
      }
    }
  }
};

}  // namespace npr::compute
