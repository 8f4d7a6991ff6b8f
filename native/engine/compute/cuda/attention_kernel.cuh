// Attention of one item: some rows' query vectors, of the heads that share a KV head, against spans of one path.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"
#include "compute/cuda/attention_fold.cuh"
#include "compute/cuda/attention_swizzle.cuh"

namespace npr::compute {

template <class S>
struct AttentionItemRun {
  const AttentionArguments& a;
  const AttentionItem& item;
  const uint32_t head;  // of keys
  uint8_t* const memory;
  const uint32_t base = shared_address(memory);
  const uint32_t first_chunk = item.first_span * (span_keys / chunk_keys);
  uint32_t chunks = 0;
  AttentionFold<S> fold{base, a.scale, reinterpret_cast<const uint32_t*>(memory + S::visible_at)};

  __device__ __forceinline__ AttentionRow* rows() const { return reinterpret_cast<AttentionRow*>(memory + S::rows_at); }
  __device__ __forceinline__ uint32_t keys_at(uint32_t chunk) const {
    return base + S::chunks_at + chunk % S::stages * 2 * S::chunk_bytes;
  }
  __device__ __forceinline__ size_t q_heads() const { return size_t{a.kv_heads} * a.group; }
  __device__ __forceinline__ size_t q_head(uint32_t vector) const { return size_t{head} * a.group + vector % a.group; }

  // Chunks count from the item's first.
  __device__ __forceinline__ void load_slots(uint32_t chunk) {
    const uint32_t key = (first_chunk + chunk) * chunk_keys + threadIdx.x;
    if (chunk < chunks && threadIdx.x < chunk_keys && key < item.keys) {
      copy_4(base + S::slots_at + (chunk % S::slot_ring * chunk_keys + threadIdx.x) * 4, a.slots + item.path + key);
    }
  }

  // Keys and values that no row of the item sees, and columns beyond head_dim, become zeros.
  __device__ __forceinline__ void load_chunk(uint32_t chunk) {
    if (chunk >= chunks) return;
    const Slot* slots = reinterpret_cast<const Slot*>(memory + S::slots_at) + chunk % S::slot_ring * chunk_keys;
    const uint32_t seen = item.keys - (first_chunk + chunk) * chunk_keys;
    const uint32_t piece = threadIdx.x % S::pieces, to = keys_at(chunk);
    const size_t before = size_t{head} * a.pool_slots * a.head_dim + piece * 8;
#pragma unroll
    for (uint32_t key = threadIdx.x / S::pieces; key < chunk_keys; key += attention_threads / S::pieces) {
      const bool real = key < seen && piece * 8 < a.head_dim;
      const size_t from = real ? before + size_t{slots[key]} * a.head_dim : 0;
      copy_16(to + swizzled<S::D>(key, piece), a.keys + from, real);
      copy_16(to + S::chunk_bytes + swizzled<S::D>(key, piece), a.values + from, real);
    }
  }

  __device__ __forceinline__ void load_queries() {
    const uint32_t count = item.rows * a.group;
    for (uint32_t i = threadIdx.x; i < S::vectors * S::pieces; i += attention_threads) {
      const uint32_t vector = i / S::pieces, piece = i % S::pieces;
      const bool real = vector < count && piece * 8 < a.head_dim;
      const size_t from =
          real ? (rows()[vector / a.group].row * q_heads() + q_head(vector)) * a.head_dim + piece * 8 : 0;
      copy_16(base + swizzled<S::D>(vector, piece), a.q + from, real);
    }
  }

  __device__ __forceinline__ void run() {
    const AttentionRow* order = a.plan->array<AttentionRow>(a.plan->rows_at) + item.first;
    const uint32_t end_key = min(item.keys, (item.first_span + item.spans) * span_keys);
    chunks = (end_key - first_chunk * chunk_keys + chunk_keys - 1) / chunk_keys;
    __syncthreads();  // the item before has been read
    if (threadIdx.x < item.rows) rows()[threadIdx.x] = order[threadIdx.x];
    for (int chunk = 0; chunk < S::stages - 1; ++chunk) load_slots(chunk);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    load_queries();
    // a chunk's group brings the slots of that which is loaded while the chunk is at work
    for (int chunk = 0; chunk < S::stages - 1; ++chunk) {
      load_chunk(chunk);
      load_slots(chunk + S::stages - 1);
      commit_copies();
    }
    const uint32_t count = item.rows * a.group;
    const bool at_work = fold.row_warp * S::tiles * 16 < count;
    read_visible(count);
    fold.clear();
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      wait_copies<S::stages - 2>();
      __syncthreads();
      load_chunk(chunk + S::stages - 1);
      load_slots(chunk + 2 * (S::stages - 1));
      commit_copies();
      if (!at_work) continue;
      const uint32_t key = (first_chunk + chunk) * chunk_keys;
      if (key < fold.most) fold.attend(keys_at(chunk), key);
      const bool last = chunk + 1 == chunks;
      if (last || (chunk + 1) % (span_keys / chunk_keys) == 0) end_span(chunk / (span_keys / chunk_keys), last);
    }
    if (at_work) write(count);
  }

  // Vectors beyond the item's, zeros, see what the last does, so that they neither widen nor narrow anything.
  __device__ __forceinline__ void read_visible(uint32_t count) {
    fold.least = UINT32_MAX;
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      for (int half = 0; half < 2; ++half) {
        const uint32_t vector = fold.vector_of(tile, half), seen = rows()[min(vector, count - 1) / a.group].visible;
        if (fold.lane % 4 == 0) reinterpret_cast<uint32_t*>(memory + S::visible_at)[vector] = seen;
        fold.least = min(fold.least, seen);
        fold.most = max(fold.most, seen);
      }
    }
    fold.least = __reduce_min_sync(all_lanes, fold.least);
    fold.most = __reduce_max_sync(all_lanes, fold.most);
  }

  // Merges the item's span `index` into those before it.
  __device__ __forceinline__ void end_span(uint32_t index, bool last) {
    float4* to = a.totals + size_t{blockIdx.x} * attention_total_pieces * attention_threads + threadIdx.x;
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      SpanSum(&sum)[2] = fold.span[tile];
      for (int half = 0; half < 2; ++half) sum[half].sum = row_sum(sum[half].sum);
      if (index == 0 && last) continue;
      MergeFactors by[2];
      if (index > 0) {
        const float4 before = __ldcg(to);
        SpanSum total[2] = {{before.x, before.y}, {before.z, before.w}};
        for (int half = 0; half < 2; ++half) {
          by[half] = merge(total[half], sum[half]);
          sum[half] = total[half];
        }
      }
      if (!last) __stcg(to, float4{sum[0].max, sum[0].sum, sum[1].max, sum[1].sum});
      to += attention_threads;
#pragma unroll
      for (int n = 0; n < S::columns / 8; ++n, to += attention_threads) {
        float(&x)[4] = fold.out[tile][n];
        if (index > 0) {
          const float4 before = __ldcg(to);
          x[0] = merged(before.x, x[0], by[0]);
          x[1] = merged(before.y, x[1], by[0]);
          x[2] = merged(before.z, x[2], by[1]);
          x[3] = merged(before.w, x[3], by[1]);
        }
        if (!last) __stcg(to, float4{x[0], x[1], x[2], x[3]});
      }
    }
    if (!last) fold.clear();
  }

  // Rows that see no other spans are done; of others it is a partial result.
  __device__ __forceinline__ void write(uint32_t count) {
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint32_t vector = fold.vector_of(tile, half);
        if (vector >= count) continue;
        const uint32_t member = vector / a.group, column = fold.column_warp * S::columns + fold.lane % 4 * 2;
        const SpanSum sum = fold.span[tile][half];
        const bool first = fold.column_warp == 0 && fold.lane % 4 == 0;
        if (item.first_span == 0 && fold.visible[vector] <= item.spans * span_keys) {
          const size_t at = rows()[member].row * q_heads() + q_head(vector);
          if (first && a.log_sums) a.log_sums[at] = log_sum(sum);
          uint16_t* const to = a.out + at * a.head_dim;
#pragma unroll
          for (int n = 0; n < S::columns / 8; ++n) {
            if (column + 8 * n >= a.head_dim) continue;
            *reinterpret_cast<uint32_t*>(to + column + 8 * n) = round_pair(
                finished(fold.out[tile][n][2 * half], sum.sum), finished(fold.out[tile][n][2 * half + 1], sum.sum));
          }
        } else {
          const size_t at = (size_t{item.partial} + member) * q_heads() + q_head(vector);
          if (first) a.partial_sums[at] = sum;
          float* const to = a.partial_outs + at * S::D;
#pragma unroll
          for (int n = 0; n < S::columns / 8; ++n) {
            *reinterpret_cast<float2*>(to + column + 8 * n) = {fold.out[tile][n][2 * half],
                                                               fold.out[tile][n][2 * half + 1]};
          }
        }
      }
    }
  }
};

}  // namespace npr::compute
