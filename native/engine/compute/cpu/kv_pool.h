// The keys and values of every slot.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/pages.h"

namespace npr::compute {

// Per layer [tile][kv head]: keys [head_dim / 2][tile_slots][2], so that one query pair meets sixteen keys at once,
// then values [tile_slots / 2][head_dim][2], so that two probabilities meet sixteen columns. Memory becomes resident as
// slots are first written.
// Thread safety: none of its own; distinct slots may be written at once.
class KvPool {
 public:
  KvPool() = default;
  KvPool(const KvShape& shape, uint32_t slots) : shape_(shape), slots_(slots) {
    const uint64_t tiles = (uint64_t{slots} + tile_slots - 1) / tile_slots;
    for (uint32_t l = 0; l < shape.layers; ++l) {
      layers_.emplace_back(tiles * shape.kv_heads * tile_size() * sizeof(bf16),
                           "layer " + std::to_string(l) + " of a KV pool of " + std::to_string(slots) + " slots");
    }
  }

  const KvShape& shape() const { return shape_; }
  uint32_t slots() const { return slots_; }
  bf16* keys(uint32_t layer, uint32_t head, uint32_t tile) const {
    return layers_[layer].as<bf16>() + (size_t{tile} * shape_.kv_heads + head) * tile_size();
  }
  // The slot's lane of its pair: every second element from here on.
  bf16* value_lane(uint32_t layer, uint32_t head, Slot slot) const {
    const size_t pair = slot % tile_slots / 2;
    return keys(layer, head, slot / tile_slots) + (tile_slots + 2 * pair) * shape_.head_dim + slot % 2;
  }
  // The lanes of one pair of values, in order.
  static bool are_pair(Slot a, Slot b) { return a % 2 == 0 && b == a + 1; }
  // Fetches the lines of a tile's keys, to be written soon: a key has a few bytes in each of them.
  void expect_keys(uint32_t layer, uint32_t head, uint32_t tile) const {
    const auto* line = reinterpret_cast<const std::byte*>(keys(layer, head, tile));
    for (uint32_t i = 0; i < shape_.head_dim / 2; ++i, line += 64) {
#if defined(__x86_64__)
      asm volatile("prefetchw %0" ::"m"(*line));
#else
      __builtin_prefetch(line, 1);
#endif
    }
  }
  void store_key(uint32_t layer, uint32_t head, Slot slot, const bf16* key) const {
    bf16* to = keys(layer, head, slot / tile_slots) + slot % tile_slots * 2;
    for (uint32_t i = 0; i < shape_.head_dim; i += 2, to += 2 * tile_slots) {
      to[0] = key[i];
      to[1] = key[i + 1];
    }
  }
  void store_value(uint32_t layer, uint32_t head, Slot slot, const bf16* from) const {
    bf16* to = value_lane(layer, head, slot);
    for (uint32_t i = 0; i < shape_.head_dim; ++i) to[2 * i] = from[i];
  }

 private:
  size_t tile_size() const { return size_t{2} * tile_slots * shape_.head_dim; }

  KvShape shape_{};
  uint32_t slots_ = 0;
  std::vector<Pages> layers_;
};

}  // namespace npr::compute
