#include "compute/cpu/attention_plan.h"

#include <algorithm>

#include "error.h"

namespace npr::compute {

void AttentionPlan::place_paths(std::span<const Sequence> sequences) {
  places_.clear();
  first_place_.clear();
  for (const Sequence& s : sequences) {
    first_place_.push_back(static_cast<uint32_t>(places_.size()));
    uint32_t start = 0;
    for (const Run& run : s.path) {
      if (run.count == 0) continue;
      places_.push_back({start, run.begin});
      start += run.count;
    }
    ensure(start >= s.length && s.length >= s.rows, "a path is as long as its sequence, and that as its rows");
  }
  first_place_.push_back(static_cast<uint32_t>(places_.size()));
}

void AttentionPlan::make(std::span<const Sequence> sequences, uint32_t max_group, uint32_t max_partials) {
  place_paths(sequences);
  order_rows(sequences, ordered_);
  members_.clear();
  items_.clear();
  rows_.clear();
  partials_.clear();
  waves_.clear();
  const auto rows = static_cast<uint32_t>(ordered_.size());
  for (uint32_t first = 0, end; first < rows; first = end) {
    uint32_t held = spans_of(ordered_[first].visible);
    for (end = first + 1; end < rows && held + spans_of(ordered_[end].visible) <= max_partials; ++end) {
      held += spans_of(ordered_[end].visible);
    }
    make_wave(first, end, max_group);
  }
}

void AttentionPlan::make_wave(uint32_t first_row, uint32_t end_row, uint32_t max_group) {
  Wave wave{static_cast<uint32_t>(items_.size()),   0, first_row, end_row - first_row,
            static_cast<uint32_t>(members_.size()), 0};
  uint32_t spans = 0, place = static_cast<uint32_t>(partials_.size());
  for (uint32_t r = first_row; r < end_row; ++r) {
    const uint32_t count = spans_of(ordered_[r].visible);
    rows_.push_back({ordered_[r].row, place, count});
    place += count;
    spans = std::max(spans, count);
  }
  partials_.resize(place);

  for (uint32_t span = 0; span < spans; ++span) {
    const uint32_t begin = span * span_keys;
    uint32_t shared = 0;  // with the last row taken; the sort makes it the least over the rows between
    for (uint32_t r = first_row; r < end_row; ++r) {
      shared = std::min(shared, ordered_[r].shared);
      if (ordered_[r].visible <= begin) continue;
      if (shared < begin + chunk_keys || items_.back().count == max_group) {
        items_.push_back({span, static_cast<uint32_t>(members_.size()), 0});
      }
      SpanItem& item = items_.back();
      partials_[rows_[r].first_partial + span] = {static_cast<uint32_t>(items_.size()) - 1, item.count};
      members_.push_back({ordered_[r].row, ordered_[r].visible, ordered_[r].sequence, shared});
      ++item.count;
      shared = all_shared;
    }
  }
  wave.items = static_cast<uint32_t>(items_.size()) - wave.first_item;
  wave.members = static_cast<uint32_t>(members_.size()) - wave.first_member;
  waves_.push_back(wave);
}

uint32_t AttentionPlan::most_members() const {
  uint32_t most = 0;
  for (const Wave& wave : waves_) most = std::max(most, wave.members);
  return most;
}

void AttentionPlan::slots(uint32_t sequence, uint32_t first, uint32_t count, Slot* out) const {
  const Place* begin = places_.data() + first_place_[sequence];
  const Place* end = places_.data() + first_place_[sequence + 1];
  const Place* at = std::upper_bound(begin, end, first, [](uint32_t key, const Place& p) { return key < p.start; }) - 1;
  for (uint32_t i = 0; i < count; ++at) {
    const uint32_t last = at + 1 < end ? std::min(count, at[1].start - first) : count;
    for (const Slot slot = at->slot - at->start + first; i < last; ++i) out[i] = slot + i;
  }
}

}  // namespace npr::compute
