#include "kv/slot_pool.h"

#include <algorithm>
#include <bit>

#include "error.h"

namespace npr::kv {

namespace {

constexpr uint32_t none = ~0u;

// The first set bit at or after `from`, going round once.
uint32_t find_bit(const std::vector<uint64_t>& bits, uint32_t from) {
  const auto words = static_cast<uint32_t>(bits.size());
  if (from / 64 >= words) from = 0;
  for (uint32_t step = 0; step <= words; ++step) {
    const uint32_t word = (from / 64 + step) % words;
    uint64_t value = bits[word];
    if (step == 0) value &= ~uint64_t{0} << (from % 64);
    if (value) return word * 64 + static_cast<uint32_t>(std::countr_zero(value));
  }
  return none;
}

void set_bit(std::vector<uint64_t>& bits, uint32_t at, bool on) {
  const uint64_t bit = uint64_t{1} << (at % 64);
  bits[at / 64] = on ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

}  // namespace

SlotPool::SlotPool(uint32_t slots)
    : size_(slots),
      free_(slots),
      mask_((slots + tile - 1) / tile),
      whole_((mask_.size() + 63) / 64),
      some_(whole_.size()) {
  ensure(slots > 0, "a pool with slots");
  reset();
}

void SlotPool::reset() noexcept {
  free_ = size_;
  std::ranges::fill(mask_, 0xffff);
  if (size_ % tile) mask_.back() = static_cast<uint16_t>((1u << size_ % tile) - 1);
  for (uint32_t i = 0; i < mask_.size(); ++i) note(i);
}

void SlotPool::note(uint32_t tile_index) {
  const bool was = whole_[tile_index / 64] >> (tile_index % 64) & 1, is = mask_[tile_index] == 0xffff;
  whole_tiles_ = whole_tiles_ - was + is;
  set_bit(whole_, tile_index, is);
  set_bit(some_, tile_index, mask_[tile_index] != 0);
}

void SlotPool::take_lanes(uint32_t tile_index, uint32_t from_lane, uint32_t& count, std::vector<Slot>& out) {
  auto& mask = mask_[tile_index];
  for (uint32_t lane = from_lane; lane < tile && count; ++lane) {
    if (!(mask >> lane & 1)) continue;
    mask = static_cast<uint16_t>(mask & ~(1u << lane));
    out.push_back(tile_index * tile + lane);
    --count;
    --free_;
  }
  note(tile_index);
}

uint32_t SlotPool::rest_of_tile(std::optional<Slot> after) const {
  if (!after || *after % tile == tile - 1 || !is_free(*after + 1)) return 0;
  return static_cast<uint32_t>(std::popcount(static_cast<uint32_t>(mask_[*after / tile]) >> (*after % tile + 1)));
}

uint32_t SlotPool::tiles_for(uint32_t count, std::optional<Slot> after) const {
  return (count - std::min(count, rest_of_tile(after)) + tile - 1) / tile;
}

void SlotPool::take(uint32_t count, std::optional<Slot> after, std::vector<Slot>& out) {
  ensure(count <= free_, "no more slots taken than are free");
  uint32_t next = 0;
  if (after) {
    next = *after / tile + 1;
    if (rest_of_tile(after)) take_lanes(*after / tile, *after % tile + 1, count, out);
  }
  while (count) {
    uint32_t found = find_bit(whole_, next);
    if (found == none) found = find_bit(some_, next);
    take_lanes(found, 0, count, out);
    next = found + 1;
  }
}

void SlotPool::give(Slot slot) {
  ensure(slot < size_ && !is_free(slot), "a slot given back once");
  mask_[slot / tile] = static_cast<uint16_t>(mask_[slot / tile] | 1u << slot % tile);
  ++free_;
  note(slot / tile);
}

void append(Path& path, const Slot* slots, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!path.empty() && path.back().begin + path.back().count == slots[i]) {
      ++path.back().count;
    } else {
      path.push_back({slots[i], 1});
    }
  }
}

uint32_t length(const Path& path) {
  uint32_t total = 0;
  for (const auto& run : path) total += run.count;
  return total;
}

}  // namespace npr::kv
