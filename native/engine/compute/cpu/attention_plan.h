// Which rows of a batch read which keys together.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "compute/backend.h"
#include "compute/path_order.h"

namespace npr::compute {

// Members [first, first + count) of the plan over keys [span * span_keys, (span + 1) * span_keys) of their paths. They
// share at least the span's first chunk, or there is but one.
struct SpanItem {
  uint32_t span, first, count;
};

// Where a row's partial result for one span is: member `member` of item `item`.
struct Partial {
  uint32_t item, member;
};

struct PlannedRow {
  uint32_t row;
  uint32_t first_partial, partials;  // in order of spans
};

// Rows that are worked on at once, so that partial results stay within a bound.
struct Wave {
  uint32_t first_item, items;
  uint32_t first_row, rows;
  uint32_t first_member, members;
};

// Sequences sorted by their slots, so that those with a common prefix are neighbours; each span of 512 keys is then cut
// into groups that share it. Cost: sorting, and one member per row and span.
// Thread safety: one thread makes it; any may read it.
class AttentionPlan {
 public:
  // `max_group`: rows of an item; `max_partials`: rows times spans of a wave (one row may exceed it).
  void make(std::span<const Sequence> sequences, uint32_t max_group, uint32_t max_partials);

  const std::vector<Member>& members() const { return members_; }
  const std::vector<SpanItem>& items() const { return items_; }
  const std::vector<PlannedRow>& rows() const { return rows_; }
  const std::vector<Partial>& partials() const { return partials_; }
  const std::vector<Wave>& waves() const { return waves_; }
  uint32_t most_members() const;  // of a wave

  // The slots of keys [first, first + count) of a sequence's path.
  void slots(uint32_t sequence, uint32_t first, uint32_t count, Slot* out) const;

 private:
  void place_paths(std::span<const Sequence> sequences);
  void make_wave(uint32_t first_row, uint32_t end_row, uint32_t max_group);

  struct Place {  // of a run in its path
    uint32_t start;
    Slot slot;
  };
  std::vector<Place> places_;          // all sequences' runs
  std::vector<uint32_t> first_place_;  // [sequences + 1]
  std::vector<Member> ordered_;        // all rows, neighbours sharing most
  std::vector<Member> members_;
  std::vector<SpanItem> items_;
  std::vector<PlannedRow> rows_;
  std::vector<Partial> partials_;
  std::vector<Wave> waves_;
};

}  // namespace npr::compute
