// The way of an item's keys and values into a block: chunks of 64, a ring of stages.
#pragma once
#include <cstdint>

#include "compute/cuda/attention_arguments.cuh"
#include "compute/cuda/attention_swizzle.cuh"
#include "compute/cuda/attention_warp.cuh"
#include "compute/cuda/gemm_ptx.cuh"

namespace npr::compute {

// Slots of a chunk's keys `lane` and lane + 32.
struct ChunkSlots {
  Slot low, high;
};

// A chunk in consecutive slots is boxes of a tensor, where the device copies such (`boxes`); any other is copied row by
// row. S: AttentionShape; the block's own, from item to item.
template <class S>
struct AttentionChunks {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  static constexpr bool boxes = true;
#else
  static constexpr bool boxes = false;
#endif
  const AttentionArguments& a;
  const AttentionKeyMaps& maps;
  const uint32_t base = 0;  // of shared memory
  // A bit a stage: how its chunk comes, the phases in which the next one arrives and the last one has been read.
  uint32_t boxed = 0, arrivals = 0, releases = ~0u;
  uint32_t head = 0;  // of keys
  AttentionItem item{};

  // Tiles of 64 rows are copied by warps, each some neighbouring rows, a lane always the same piece of them.
  static constexpr uint32_t warp_rows = 64 / S::warps, step_rows = 32 / S::pieces, steps = warp_rows / step_rows;
  static __device__ __forceinline__ uint32_t piece() { return threadIdx.x % S::pieces; }
  static __device__ __forceinline__ uint32_t tile_row(uint32_t step) {
    return threadIdx.x / 32 * warp_rows + step * step_rows + threadIdx.x % 32 / S::pieces;
  }
  __device__ __forceinline__ bool real_piece() const { return piece() * 8 < a.head_dim; }

  __device__ __forceinline__ uint32_t count() const { return (item.end - item.begin + chunk_keys - 1) / chunk_keys; }
  __device__ __forceinline__ uint32_t first_key(uint32_t chunk) const { return item.begin + chunk * chunk_keys; }
  // Keys of a chunk, then its values.
  __device__ __forceinline__ uint32_t at(uint32_t chunk) const {
    return base + S::ring_at + chunk % S::stages * 2 * S::tile_bytes;
  }
  __device__ __forceinline__ uint32_t arrival(uint32_t stage) const { return base + S::barriers_at + stage * 16; }
  __device__ __forceinline__ uint32_t release(uint32_t stage) const { return arrival(stage) + 8; }
  __device__ __forceinline__ Slot slot_of(uint32_t key) const {
    return item.slot == scattered ? a.slots[item.path + key] : item.slot + (key - item.begin);
  }

  // Once a block; others may follow after a sync.
  __device__ __forceinline__ void begin() const {
    if (!boxes || threadIdx.x > 0) return;
    ptx::prefetch_map(maps.keys);
    ptx::prefetch_map(maps.values);
    for (uint32_t stage = 0; stage < S::stages; ++stage) {
      ptx::barrier_init(arrival(stage), 1);
      ptx::barrier_init(release(stage), S::warps);
    }
    ptx::barrier_init_fence();
  }

  // Needed where an item is scattered, or copied by rows.
  __device__ __forceinline__ ChunkSlots slots(uint32_t chunk) const {
    if (boxes && item.slot != scattered) return {};
    const uint32_t key = first_key(chunk) + threadIdx.x % 32;
    return {key < item.end ? slot_of(key) : 0, key + 32 < item.end ? slot_of(key + 32) : 0};
  }

  // Brings the chunk to its stage, once all warps have let go of the one before. Columns beyond head_dim are zeros;
  // keys and values from item.end on are zeros or some other slot's.
  __device__ __forceinline__ void start(uint32_t chunk, ChunkSlots slots) {
    if (chunk < count()) {
      const uint32_t stage = chunk % S::stages, seen = item.end - first_key(chunk);
      Slot first = item.slot + chunk * chunk_keys;
      if constexpr (boxes) {
        const uint32_t phase = releases >> stage & 1;
        releases ^= 1u << stage;
        if (item.slot != scattered || consecutive(slots, seen, first)) {
          boxed |= 1u << stage;
          if (threadIdx.x == 0) {
            ptx::barrier_wait(release(stage), phase);
            start_boxes(chunk, first);
          }
          __syncwarp();
        } else {
          boxed &= ~(1u << stage);
          ptx::barrier_wait(release(stage), phase);
          start_rows(chunk, slots, seen);
        }
      } else {
        __syncthreads();
        start_rows(chunk, slots, seen);
      }
    }
    commit_copies();
  }
  // By every warp, of a chunk that it has read.
  __device__ __forceinline__ void let_go(uint32_t chunk) const {
    if constexpr (boxes) {
      if (threadIdx.x % 32 == 0) ptx::barrier_arrive(release(chunk % S::stages));
      __syncwarp();
    }
  }

  static __device__ __forceinline__ bool consecutive(ChunkSlots slots, uint32_t seen, Slot& first) {
    const uint32_t lane = threadIdx.x % 32;
    first = __shfl_sync(all_lanes, slots.low, 0);
    return __all_sync(all_lanes, (lane >= seen || slots.low == first + lane) &&
                                     (lane + 32 >= seen || slots.high == first + lane + 32));
  }

  __device__ __forceinline__ void start_boxes(uint32_t chunk, Slot first) const {
    const uint32_t row = head * a.pool_slots + first, arrived = arrival(chunk % S::stages);
    ptx::barrier_expect(arrived, 2 * S::tile_bytes);
#pragma unroll
    for (uint32_t panel = 0; panel < S::D / 64; ++panel) {
      ptx::load_box(at(chunk) + panel * tile_panel, maps.keys, arrived, panel * 64, row, ptx::Cache::normal);
    }
#pragma unroll
    for (uint32_t panel = 0; panel < S::D / 64; ++panel) {
      ptx::load_box(at(chunk) + S::tile_bytes + panel * tile_panel, maps.values, arrived, panel * 64, row,
                    ptx::Cache::normal);
    }
  }

  __device__ __forceinline__ void start_rows(uint32_t chunk, ChunkSlots slots, uint32_t seen) const {
    const size_t before = size_t{head} * a.pool_slots * a.head_dim + piece() * 8;
    const Slot own = threadIdx.x / 32 * warp_rows < 32 ? slots.low : slots.high;
#pragma unroll 4
    for (uint32_t step = 0; step < steps; ++step) {
      const uint32_t row = tile_row(step), to = at(chunk) + swizzled(row, piece());
      const Slot slot = __shfl_sync(all_lanes, own, row % 32);
      const bool real = row < seen && real_piece();
      const size_t from = real ? before + size_t{slot} * a.head_dim : 0;
      copy_16(to, a.keys + from, real);
      copy_16(to + S::tile_bytes, a.values + from, real);
    }
  }

  // Of a chunk that is there or on its way.
  __device__ __forceinline__ bool boxed_at(uint32_t chunk) const { return boxes && boxed >> chunk % S::stages & 1; }

  // Until a chunk is there; the S::ahead - 1 after it may be on their way. Other threads' share of rows is there after
  // a sync.
  __device__ __forceinline__ void wait(uint32_t chunk) {
    const uint32_t stage = chunk % S::stages;
    if (boxed_at(chunk)) {
      ptx::barrier_wait(arrival(stage), arrivals >> stage & 1);
      arrivals ^= 1u << stage;
    } else {
      wait_copies<S::ahead - 1>();
    }
  }

  // Zeros for the values among some rows' that are not finite: zero times them would not be zero. Tells whether there
  // were any.
  __device__ __forceinline__ bool drop_not_finite(uint32_t chunk, uint8_t* memory) const {
    bool any = false;
#pragma unroll 1
    for (uint32_t step = 0; step < steps; ++step) {
      uint8_t* const values = memory + (at(chunk) - base) + S::tile_bytes + swizzled(tile_row(step), piece());
      uint4 x = *reinterpret_cast<const uint4*>(values);
      uint32_t* const pairs = &x.x;
      bool found = false;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        for (const uint32_t part : {0xffffu, 0xffff0000u}) {
          if ((pairs[i] & part & 0x7f807f80) == (part & 0x7f807f80)) pairs[i] &= ~part, found = true;
        }
      }
      if (found) *reinterpret_cast<uint4*>(values) = x;
      any |= found;
    }
    return any;
  }
};

}  // namespace npr::compute
