// Which blocks of the device attend which rows to which keys.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/path_order.h"

namespace npr::compute {

// What the device reads of the plan.
struct AttentionRow {
  uint32_t row;      // of the batch
  uint32_t visible;  // keys
};

// Rows [first, first + rows) of the order over spans [first_span, first_span + spans) of their paths, which lie in the
// same slots for all. Items of several spans begin with the first: merging goes from left to right.
struct AttentionItem {
  uint32_t first, rows;
  uint32_t path;  // where its path's slots begin
  uint32_t keys;  // the most that one of the rows sees
  uint32_t first_span, spans;
  uint32_t partial;  // where the results of those rows go that see spans of other items, too: partial + i for row i
};

// Partial results ids[first .. first + count), in order, are a row's.
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
  uint32_t item_rows;    // at most, of an item
  uint32_t narrow_rows;  // an item of more takes twice the time
  uint32_t kv_heads;     // blocks of an item
  uint32_t blocks;       // that the device runs at once
  uint32_t partials;     // that there should be room for
};

// Rows whose keys lie in the same slots are one item, as many spans of it as leave no block alone at work for long: an
// item is cut into spans where it would take more than twice its share of the whole. Thread safety: one thread at a
// time.
class CudaAttentionPlan {
 public:
  void make(std::span<const Sequence> sequences, const AttentionLimits& limits);

  const std::vector<AttentionRow>& rows() const { return rows_; }
  const std::vector<AttentionItem>& items() const { return items_; }  // long ones first
  const std::vector<AttentionMerge>& merges() const { return merges_; }
  const std::vector<uint32_t>& partial_ids() const { return partial_ids_; }
  const std::vector<AttentionPath>& paths() const { return paths_; }
  const std::vector<AttentionRun>& runs() const { return runs_; }
  uint32_t partials() const { return partials_; }
  uint32_t slots() const { return slots_; }  // of all paths

 private:
  void lay_out(std::span<const Sequence> sequences);
  // Returns the cost of all items, in chunks of a narrow item.
  uint64_t cut(const AttentionLimits& limits, uint64_t most_cost);
  void cut_first_spans(const AttentionLimits& limits, uint64_t most_cost);
  void cut_span(const AttentionLimits& limits, uint32_t span);
  void add_item(uint32_t first, uint32_t end, uint32_t first_span, uint32_t spans);
  // Rows [first, end) that may be one item over `span`.
  uint32_t group_end(const AttentionLimits& limits, uint32_t first, uint32_t span) const;

  std::vector<Member> ordered_;
  std::vector<AttentionRow> rows_;
  std::vector<AttentionItem> items_;
  std::vector<AttentionMerge> merges_;
  std::vector<uint32_t> partial_ids_;
  std::vector<AttentionPath> paths_;
  std::vector<AttentionRun> runs_;
  std::vector<uint32_t> covered_;     // [rows]: spans that a row's items so far cover
  std::vector<uint32_t> merge_of_;    // [rows]: its merge
  std::vector<uint32_t> unfinished_;  // rows that see spans beyond their first item
  uint32_t partials_ = 0, slots_ = 0;
};

}  // namespace npr::compute
