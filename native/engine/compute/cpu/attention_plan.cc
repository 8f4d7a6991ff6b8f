#include "compute/cpu/attention_plan.h"

#include <algorithm>
#include <numeric>

#include "compute/cpu/kernels.h"
#include "error.h"

namespace npr::compute {
namespace {

// Where two paths part: how many leading slots they share, and what comes next in each.
struct Fork {
  uint32_t common;
  bool a_ended, b_ended;
  Slot a, b;  // the slots that differ
};

Fork compare(std::span<const Run> a, std::span<const Run> b) {
  Fork fork{};
  size_t i = 0, j = 0;
  uint32_t used_a = 0, used_b = 0;  // of runs i and j
  while (true) {
    while (i < a.size() && used_a == a[i].count) ++i, used_a = 0;
    while (j < b.size() && used_b == b[j].count) ++j, used_b = 0;
    fork.a_ended = i == a.size();
    fork.b_ended = j == b.size();
    if (fork.a_ended || fork.b_ended) return fork;
    fork.a = a[i].begin + used_a;
    fork.b = b[j].begin + used_b;
    if (fork.a != fork.b) return fork;
    const uint32_t step = std::min(a[i].count - used_a, b[j].count - used_b);
    used_a += step;
    used_b += step;
    fork.common += step;
  }
}

bool before(std::span<const Run> a, std::span<const Run> b) {
  const Fork fork = compare(a, b);
  if (fork.a_ended || fork.b_ended) return fork.a_ended && !fork.b_ended;
  return fork.a < fork.b;
}

uint32_t spans_of(uint32_t visible) { return (visible + span_keys - 1) / span_keys; }

}  // namespace

uint32_t common_slots(std::span<const Run> a, std::span<const Run> b) { return compare(a, b).common; }

void AttentionPlan::order_rows(std::span<const Sequence> sequences) {
  places_.clear();
  first_place_.clear();
  ordered_.clear();
  std::vector<uint32_t> first_row(sequences.size()), order(sequences.size());
  uint32_t rows = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    first_place_.push_back(static_cast<uint32_t>(places_.size()));
    uint32_t start = 0;
    for (const Run& run : sequences[s].path) {
      if (run.count == 0) continue;
      places_.push_back({start, run.begin});
      start += run.count;
    }
    ensure(start >= sequences[s].length && sequences[s].length >= sequences[s].rows,
           "a path is as long as its sequence, and that as its rows");
    first_row[s] = rows;
    rows += sequences[s].rows;
  }
  first_place_.push_back(static_cast<uint32_t>(places_.size()));

  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return before(sequences[a].path, sequences[b].path); });
  for (size_t i = 0; i < order.size(); ++i) {
    const Sequence& s = sequences[order[i]];
    uint32_t shared = i ? common_slots(sequences[order[i - 1]].path, s.path) : 0;
    for (uint32_t r = 0; r < s.rows; ++r) {
      ordered_.push_back({first_row[order[i]] + r, s.length - s.rows + r + 1, order[i], shared});
      shared = all_shared;
    }
  }
}

void AttentionPlan::make(std::span<const Sequence> sequences, uint32_t max_group, uint32_t max_partials) {
  order_rows(sequences);
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
