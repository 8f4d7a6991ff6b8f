// The free slots of the KV pool.
//
// Slots lie in tiles of 16, the backend's unit of key storage. A sequence that grows is given the rest of its tile and
// then whole free tiles, so that what is read together lies together; single free slots are used when no tile is left.
// Which slots a sequence gets changes no bit of what it computes.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "compute/backend.h"

namespace npr::kv {

using compute::Path;
using compute::Slot;

// Thread safety: none; the scheduler's thread owns it.
class SlotPool {
 public:
  static constexpr uint32_t tile = 16;

  explicit SlotPool(uint32_t slots);

  uint32_t size() const { return size_; }
  uint32_t free() const { return free_; }
  uint32_t whole_tiles() const { return whole_tiles_; }  // of which every slot is free
  bool is_free(Slot slot) const { return mask_[slot / tile] >> (slot % tile) & 1; }

  // Whole tiles that take() would use, if there were as many.
  uint32_t tiles_for(uint32_t count, std::optional<Slot> after) const;
  // Appends `count` slots to `out`, following `after` where that can be. Precondition: count <= free().
  void take(uint32_t count, std::optional<Slot> after, std::vector<Slot>& out);
  void give(Slot slot);
  // Every slot is free again, whoever had it.
  void reset() noexcept;

 private:
  // Free slots in the tile of `after`, if the next one is free.
  uint32_t rest_of_tile(std::optional<Slot> after) const;
  void take_lanes(uint32_t tile_index, uint32_t from_lane, uint32_t& count, std::vector<Slot>& out);
  void note(uint32_t tile_index);

  uint32_t size_, free_, whole_tiles_ = 0;
  std::vector<uint16_t> mask_;   // [tiles] bit set: the slot is free
  std::vector<uint64_t> whole_;  // bit set: the tile is wholly free
  std::vector<uint64_t> some_;   // bit set: the tile has a free slot
};

// Appends slots to a path, merging neighbours.
void append(Path& path, const Slot* slots, size_t count);
uint32_t length(const Path& path);

}  // namespace npr::kv
