// Which blocks of the device attend which rows to which keys.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/cuda/attention_units.h"
#include "compute/path_order.h"

namespace npr::compute {

// What the device reads of the plan.
struct AttentionRow {
  uint32_t row;       // of the batch
  uint32_t visible;   // keys
  uint32_t partials;  // the result of an item that ends with unit u lies at partials + u, modulo 2^32
};

constexpr Slot scattered = UINT32_MAX;

// Rows [first, first + rows) of the order over keys [begin, end) of their paths, which lie in the same slots for all.
// Items of several units begin with the first: merging goes from left to right.
struct alignas(16) AttentionItem {
  uint32_t first, rows;
  uint32_t path;              // where its path's slots begin
  Slot slot;                  // of key `begin`, others behind it; or scattered
  uint32_t begin, end;        // no row sees keys from `end` on of the item's units
  uint32_t last_unit, limit;  // its number, and the key where it ends
  uint32_t least;             // keys that every row sees
  uint32_t settled;           // leading keys of the path that the batch itself does not write
};

// Results [first, first + count), in order, are a row's.
struct AttentionMerge {
  uint32_t row, first, count;
};

// A sequence's runs, whose first `length` slots are written out one by one from `slots` on.
struct AttentionPath {
  uint32_t first_run, runs, length, slots;
};
struct AttentionRun {
  uint32_t start;  // in its path
  Slot slot;
};

struct AttentionLimits {
  uint32_t item_rows;  // at most, of an item
  uint32_t kv_heads;   // blocks of an item
  uint32_t blocks;     // that the device runs at once
  uint32_t partials;   // that there should be room for
};

// Rows whose keys lie in the same slots are one item, as many units of it as leave no block alone at work for long: an
// item is cut into units where it would take more than twice its share of the whole. Thread safety: one thread at a
// time.
class CudaAttentionPlan {
 public:
  void make(std::span<const Sequence> sequences, const AttentionLimits& limits);

  const std::vector<AttentionRow>& rows() const { return rows_; }
  const std::vector<AttentionItem>& items() const { return items_; }  // long ones first
  const std::vector<AttentionMerge>& merges() const { return merges_; }
  const std::vector<AttentionPath>& paths() const { return paths_; }
  const std::vector<AttentionRun>& runs() const { return runs_; }
  uint32_t partials() const { return partials_; }
  uint32_t slots() const { return slots_; }              // of all paths
  bool any_scattered() const { return any_scattered_; }  // otherwise slots need not be written out

 private:
  void lay_out(std::span<const Sequence> sequences);
  void settle(std::span<const Sequence> sequences);
  // Returns the cost of all items, in chunks.
  uint64_t cut(const AttentionLimits& limits, uint64_t most_cost);
  void cut_first_units(const AttentionLimits& limits, uint64_t most_cost);
  void cut_unit(const AttentionLimits& limits, uint32_t unit);
  void add_item(uint32_t first, uint32_t end, uint32_t unit, uint32_t units);
  Slot first_slot(const AttentionPath& path, uint32_t begin, uint32_t end) const;
  // Rows [first, end) that may be one item over `unit`.
  uint32_t group_end(const AttentionLimits& limits, uint32_t first, uint32_t unit) const;

  std::vector<Member> ordered_;
  std::vector<AttentionRow> rows_;
  std::vector<AttentionItem> items_;
  std::vector<AttentionMerge> merges_;
  std::vector<AttentionPath> paths_;
  std::vector<AttentionRun> runs_;
  std::vector<uint32_t> settled_;     // [sequences]: leading keys that the batch does not write
  std::vector<uint32_t> covered_;     // [rows]: units that a row's items so far cover
  std::vector<uint32_t> unfinished_;  // rows that see units beyond their first item
  uint32_t partials_ = 0, slots_ = 0;
  bool any_scattered_ = false;
};

}  // namespace npr::compute
