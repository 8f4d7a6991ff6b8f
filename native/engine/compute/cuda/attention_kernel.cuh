// Attention of one item: some rows' query vectors, of the heads that share a KV head, against units of one path.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"
#include "compute/cuda/attention_fold.cuh"
#include "compute/cuda/attention_swizzle.cuh"
#include "compute/cuda/gemm_ptx.cuh"

namespace npr::compute {

// Whether a unit ends at this multiple of chunk_keys.
__device__ inline bool ends_unit(uint32_t key) { return key % (key < short_keys ? short_unit : long_unit) == 0; }

template <class S>
struct AttentionItemRun {
  const AttentionArguments& a;
  const AttentionItem& item;
  const uint32_t head;  // of keys
  uint8_t* const memory;
  const uint32_t base = shared_address(memory), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t count = item.rows * a.group, chunks = (item.end - item.begin + chunk_keys - 1) / chunk_keys;
  const AttentionRow* const order = a.plan->array<AttentionRow>(a.plan->rows_at) + item.first;
  AttentionFold<S> fold{a.scale};

  // Tiles of 64 rows are copied by warps, each some neighbouring rows, a lane always the same piece of them.
  static constexpr uint32_t warp_rows = 64 / S::warps, step_rows = 32 / S::pieces, steps = warp_rows / step_rows;
  const uint32_t piece = lane % S::pieces;
  __device__ __forceinline__ uint32_t tile_row(uint32_t step) const {
    return warp * warp_rows + step * step_rows + lane / S::pieces;
  }
  __device__ __forceinline__ bool real_piece() const { return piece * 8 < a.head_dim; }

  __device__ __forceinline__ uint32_t keys_at(uint32_t chunk) const {
    return base + S::tile_bytes + chunk % S::stages * 2 * S::tile_bytes;
  }
  __device__ __forceinline__ uint32_t first_key(uint32_t chunk) const { return item.begin + chunk * chunk_keys; }
  __device__ __forceinline__ Slot slot_of(uint32_t key) const {
    return item.slot == scattered ? a.slots[item.path + key] : item.slot + (key - item.begin);
  }
  // Keys and values of a slot begin there.
  __device__ __forceinline__ size_t place_of(Slot slot) const {
    return (size_t{head} * a.pool_slots + slot) * a.head_dim;
  }
  // Of [rows, q_heads]
  __device__ __forceinline__ size_t query_of(uint32_t vector) const {
    return size_t{order[vector / a.group].row} * (a.kv_heads * a.group) + head * a.group + vector % a.group;
  }

  // Slots of a chunk, of the warp's rows in its first lanes.
  __device__ __forceinline__ Slot load_slots(uint32_t chunk) const {
    const uint32_t key = first_key(chunk) + warp * warp_rows + lane % warp_rows;
    return key < item.end ? slot_of(key) : 0;
  }
  // Keys and values that no row of the item sees, and columns beyond head_dim, become zeros.
  __device__ __forceinline__ void load_chunk(uint32_t chunk, Slot slots) const {
    if (chunk >= chunks) return;
    const uint32_t seen = item.end - first_key(chunk), to = keys_at(chunk);
    const uint16_t* const keys = a.keys + place_of(0) + piece * 8;
    const uint16_t* const values = a.values + place_of(0) + piece * 8;
    const auto copy_rows = [&](const auto& copy) {
#pragma unroll
      for (uint32_t step = 0; step < steps; ++step) {
        const Slot slot = __shfl_sync(all_lanes, slots, step * step_rows + lane / S::pieces);
        const size_t from = size_t{slot} * a.head_dim;
        const uint32_t at = to + swizzled(tile_row(step), piece);
        const bool real = tile_row(step) < seen && real_piece();
        copy(at, keys + from, real);
        copy(at + S::tile_bytes, values + from, real);
      }
    };
    if (seen >= chunk_keys && a.head_dim == S::D) {
      copy_rows([](uint32_t at, const uint16_t* from, bool) { copy_16(at, from); });
    } else {
      copy_rows([&](uint32_t at, const uint16_t* from, bool real) { copy_16(at, real ? from : a.keys, real); });
    }
  }

  __device__ __forceinline__ void load_queries() const {
    const uint32_t own = warp * warp_rows + lane % warp_rows;
    const auto vector = static_cast<uint32_t>(own < count ? query_of(own) : 0);  // fewer than 2^32
    uint4 x[steps];
#pragma unroll
    for (uint32_t step = 0; step < steps; ++step) {
      const size_t at = __shfl_sync(all_lanes, vector, step * step_rows + lane / S::pieces);
      const bool real = tile_row(step) < count && real_piece();
      x[step] = real ? *reinterpret_cast<const uint4*>(a.q + at * a.head_dim + piece * 8) : uint4{};
    }
#pragma unroll
    for (uint32_t step = 0; step < steps; ++step) {
      *reinterpret_cast<uint4*>(memory + swizzled(tile_row(step), piece)) = x[step];
    }
  }

  // Zeros for the values among those this thread copied that are not finite: zero times them would not be zero. Tells
  // whether there were any.
  __device__ __forceinline__ bool drop_not_finite(uint32_t chunk) const {
    bool any = false;
#pragma unroll 1
    for (uint32_t step = 0; step < steps; ++step) {
      uint8_t* const at = memory + (keys_at(chunk) - base) + S::tile_bytes + swizzled(tile_row(step), piece);
      uint4 x = *reinterpret_cast<const uint4*>(at);
      uint32_t* const pairs = &x.x;
      bool found = false;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        for (const uint32_t part : {0xffffu, 0xffff0000u}) {
          if ((pairs[i] & part & 0x7f807f80) == (part & 0x7f807f80)) pairs[i] &= ~part, found = true;
        }
      }
      if (found) *reinterpret_cast<uint4*>(at) = x;
      any |= found;
    }
    return any;
  }

  // `waited`: for what the kernels before this one write. Keys and values that they do not are fetched before.
  __device__ __forceinline__ void run(bool& waited) {
    const auto wait = [&] {
      if (!waited) ptx::wait_for_dependencies();
      waited = true;
    };
    if (item.slot == scattered) wait();
    __syncthreads();  // the item before has been read
    for (uint32_t chunk = 0; chunk < S::stages - 1; ++chunk) {
      if (chunk < chunks && min(item.end, first_key(chunk + 1)) > item.settled) wait();
      load_chunk(chunk, load_slots(chunk));
      commit_copies();
    }
    Slot slots = load_slots(S::stages - 1);
    wait();
    load_queries();
    read_visible();
    fold.begin();
    for (uint32_t chunk = 0; chunk < chunks;) {
      bool fresh = true;
      do {
        take_chunk(chunk, fresh, slots);
        fresh = false;
      } while (++chunk < chunks && !ends_unit(first_key(chunk)));
      fold.end_unit();
    }
    write();
  }

  // Folds a chunk into the unit, while the last one that there is room for is on its way.
  __device__ __forceinline__ void take_chunk(uint32_t chunk, bool fresh, Slot& slots) {
    wait_copies<S::stages - 2>();
    const uint32_t key = first_key(chunk), keys = __shfl_sync(all_lanes, keys_at(chunk), 0);
    bool dropped = false;
    if (item.least < min(key + chunk_keys, item.end)) {
      dropped = drop_not_finite(chunk);
      dropped = __syncthreads_or(dropped);
    }
    fence_operands();
    __syncthreads();
    Fragment<64> scores;
    start_scores<S::D>(__shfl_sync(all_lanes, base, 0), keys, scores);
    load_chunk(chunk + S::stages - 1, slots);
    commit_copies();
    slots = load_slots(chunk + S::stages);
    finish_products<64>(scores);
    Weights weights{};
    const bool at_work = warp % 4 * 16 < count;
    if (at_work) {
      fold.hide(key, scores);
      fold.soften(scores, fresh, weights);
    }
    const uint32_t group = __shfl_sync(all_lanes, warp / 4, 0);
    start_output<S::columns>(weights, keys + S::tile_bytes + group * (S::columns / 64) * tile_panel, fresh, fold.out);
    finish_products<S::columns>(fold.out);
    if (dropped && at_work) {
      const uint32_t column = first_column();
      fold.add_not_finite(weights, key, item.end, a.head_dim > column ? a.head_dim - column : 0,
                          [&](uint32_t i) { return a.values + place_of(slot_of(key + i)) + column; });
    }
  }

  __device__ __forceinline__ uint32_t vector_of(uint32_t half) const { return warp % 4 * 16 + half * 8 + lane / 4; }
  __device__ __forceinline__ uint32_t first_column() const { return warp / 4 * S::columns + lane % 4 * 2; }

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
