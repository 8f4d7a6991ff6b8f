#include "compute/cuda/attention_plan.h"

#include <algorithm>

#include "error.h"

namespace npr::compute {
namespace {

// In larger batches nobody waits for the first keys alone, and to tell which are settled takes longer.
constexpr size_t most_settled_sequences = 32, most_settled_runs = 512;

uint32_t chunks(const AttentionItem& item) { return (item.end - item.begin + chunk_keys - 1) / chunk_keys; }

}  // namespace

void CudaAttentionPlan::make(std::span<const Sequence> sequences, const AttentionLimits& limits) {
  order_rows(sequences, ordered_);
  lay_out(sequences);
  settle(sequences);
  const uint64_t whole = cut(limits, UINT64_MAX);
  uint64_t most = 2 * whole * limits.kv_heads / limits.blocks;
  while (true) {
    cut(limits, most);
    if (partials_ <= limits.partials || merges_.empty() || most > whole) break;
    most = 4 * std::max<uint64_t>(most, 1);
  }
  std::stable_sort(items_.begin(), items_.end(),
                   [](const AttentionItem& a, const AttentionItem& b) { return chunks(a) > chunks(b); });
  any_scattered_ = std::ranges::any_of(items_, [](const AttentionItem& item) { return item.slot == scattered; });
}

void CudaAttentionPlan::lay_out(std::span<const Sequence> sequences) {
  paths_.clear();
  runs_.clear();
  rows_.clear();
  uint64_t slots = 0;
  for (const Sequence& s : sequences) {
    AttentionPath path{static_cast<uint32_t>(runs_.size()), 0, s.length, static_cast<uint32_t>(slots)};
    uint64_t start = 0;
    for (const Run& run : s.path) {
      if (run.count == 0 || start >= s.length) continue;
      const bool goes_on = start && runs_.back().slot + (start - runs_.back().start) == run.begin;
      if (!goes_on) runs_.push_back({static_cast<uint32_t>(start), run.begin});
      start += run.count;
    }
    ensure(start >= s.length && s.length >= s.rows, "a path is as long as its sequence, and that as its rows");
    path.runs = static_cast<uint32_t>(runs_.size()) - path.first_run;
    paths_.push_back(path);
    slots += s.length;
  }
  ensure(slots < UINT32_MAX, "the paths of a batch have fewer than 2^32 tokens");
  slots_ = static_cast<uint32_t>(slots);
  for (const Member& m : ordered_) rows_.push_back({m.row, m.visible, 0});
}

// A path is settled up to the first slot that any sequence appends.
void CudaAttentionPlan::settle(std::span<const Sequence> sequences) {
  settled_.assign(sequences.size(), 0);
  if (sequences.size() > most_settled_sequences || runs_.size() > most_settled_runs) return;
  struct Stretch {
    Slot begin;
    uint32_t start, count;  // keys [start, start + count) of its path
  };
  const auto stretches = [&](size_t sequence, uint32_t from, const auto& take) {
    const AttentionPath& path = paths_[sequence];
    for (uint32_t r = path.first_run; r < path.first_run + path.runs; ++r) {
      const uint32_t end = r + 1 < path.first_run + path.runs ? runs_[r + 1].start : path.length;
      const uint32_t start = std::max(from, runs_[r].start);
      if (start < end) take(Stretch{runs_[r].slot + (start - runs_[r].start), start, end - start});
    }
  };
  std::vector<Stretch> written;
  for (size_t s = 0; s < sequences.size(); ++s) {
    stretches(s, sequences[s].length - sequences[s].rows, [&](const Stretch& x) { written.push_back(x); });
  }
  for (size_t s = 0; s < sequences.size(); ++s) {
    settled_[s] = sequences[s].length;
    stretches(s, 0, [&](const Stretch& x) {
      for (const Stretch& w : written) {
        const Slot first = std::max(x.begin, w.begin);
        if (first < x.begin + x.count && first < w.begin + w.count) {
          settled_[s] = std::min(settled_[s], x.start + (first - x.begin));
        }
      }
    });
  }
}

uint64_t CudaAttentionPlan::cut(const AttentionLimits& limits, uint64_t most_cost) {
  items_.clear();
  merges_.clear();
  unfinished_.clear();
  partials_ = 0;
  covered_.assign(ordered_.size(), 0);
  cut_first_units(limits, most_cost);
  for (uint32_t unit = 1; !unfinished_.empty(); ++unit) {
    cut_unit(limits, unit);
    std::erase_if(unfinished_, [&](uint32_t r) { return covered_[r] == units_of(ordered_[r].visible); });
  }
  uint64_t sum = 0;
  for (const AttentionItem& item : items_) sum += chunks(item);
  return sum;
}

uint32_t CudaAttentionPlan::group_end(const AttentionLimits& limits, uint32_t first, uint32_t unit) const {
  const uint32_t unit_end = unit_begin(unit + 1);
  uint32_t end = first + 1;
  while (end < ordered_.size() && end - first < limits.item_rows && covered_[end] == unit &&
         ordered_[end].visible > unit_begin(unit) && ordered_[end].shared >= unit_end) {
    ++end;
  }
  return end;
}

// Every row's first item. What is left of longer rows is cut unit by unit.
void CudaAttentionPlan::cut_first_units(const AttentionLimits& limits, uint64_t most_cost) {
  const auto rows = static_cast<uint32_t>(ordered_.size());
  const auto affordable =
      whole_units(static_cast<uint32_t>(std::min<uint64_t>(most_cost, UINT32_MAX / chunk_keys)) * chunk_keys);
  for (uint32_t first = 0, end; first < rows; first = end) {
    end = group_end(limits, first, 0);
    uint32_t widest = ordered_[first].visible, shared = all_shared;
    for (uint32_t r = first + 1; r < end; ++r) {
      widest = std::max(widest, ordered_[r].visible);
      shared = std::min(shared, ordered_[r].shared);
    }
    const uint32_t common = shared == all_shared ? UINT32_MAX : whole_units(shared);
    const uint32_t units = std::max(1u, std::min({units_of(widest), common, affordable}));
    for (uint32_t r = first; r < end; ++r) {
      const uint32_t all = units_of(ordered_[r].visible);
      if (all <= units) continue;
      const uint32_t count = 1 + all - units;
      merges_.push_back({ordered_[r].row, partials_, count});
      rows_[r].partials = partials_ - (units - 1);
      partials_ += count;
      unfinished_.push_back(r);
    }
    add_item(first, end, 0, units);
  }
}

void CudaAttentionPlan::cut_unit(const AttentionLimits& limits, uint32_t unit) {
  for (uint32_t i = 0; i < unfinished_.size();) {
    const uint32_t first = unfinished_[i];
    if (covered_[first] != unit) {
      ++i;
      continue;
    }
    const uint32_t end = group_end(limits, first, unit);
    add_item(first, end, unit, 1);
    i += end - first;  // all of them are unfinished
  }
}

void CudaAttentionPlan::add_item(uint32_t first, uint32_t end, uint32_t unit, uint32_t units) {
  uint32_t widest = first, least = UINT32_MAX;
  for (uint32_t r = first; r < end; ++r) {
    if (ordered_[r].visible > ordered_[widest].visible) widest = r;
    least = std::min(least, ordered_[r].visible);
    covered_[r] = std::min(units_of(ordered_[r].visible), unit + units);
  }
  const uint32_t sequence = ordered_[widest].sequence, limit = unit_begin(unit + units);
  AttentionItem item{};
  item.first = first;
  item.rows = end - first;
  item.path = paths_[sequence].slots;
  item.begin = unit_begin(unit);
  item.end = std::min(ordered_[widest].visible, limit);
  item.slot = first_slot(paths_[sequence], item.begin, item.end);
  item.last_unit = unit + units - 1;
  item.limit = limit;
  item.least = least;
  item.settled = settled_[sequence];
  items_.push_back(item);
}

Slot CudaAttentionPlan::first_slot(const AttentionPath& path, uint32_t begin, uint32_t end) const {
  const auto first = runs_.begin() + path.first_run, last = first + path.runs;
  const auto next =
      std::upper_bound(first, last, begin, [](uint32_t key, const AttentionRun& r) { return key < r.start; });
  if (next != last && next->start < end) return scattered;
  return (next - 1)->slot + (begin - (next - 1)->start);
}

}  // namespace npr::compute
