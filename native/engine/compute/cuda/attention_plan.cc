#include "compute/cuda/attention_plan.h"

#include <algorithm>

#include "error.h"

namespace npr::compute {
namespace {

constexpr uint32_t span_chunks = span_keys / chunk_keys;

uint32_t weight(const AttentionLimits& limits, uint32_t rows) { return rows > limits.narrow_rows ? 2 : 1; }

uint64_t cost(const AttentionLimits& limits, const AttentionItem& item) {
  const uint32_t begin = item.first_span * span_keys, end = std::min(item.keys, begin + item.spans * span_keys);
  return uint64_t{weight(limits, item.rows)} * ((end - begin + chunk_keys - 1) / chunk_keys);
}

}  // namespace

void CudaAttentionPlan::make(std::span<const Sequence> sequences, const AttentionLimits& limits) {
  order_rows(sequences, ordered_);
  lay_out(sequences);
  const uint64_t whole = cut(limits, UINT64_MAX);
  uint64_t most = std::max<uint64_t>(2 * whole * limits.kv_heads / limits.blocks, span_chunks);
  while (true) {
    cut(limits, most);
    if (partials_ <= limits.partials || merges_.empty() || most > whole) break;
    most *= 4;
  }
  std::stable_sort(items_.begin(), items_.end(),
                   [&](const AttentionItem& a, const AttentionItem& b) { return cost(limits, a) > cost(limits, b); });
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
      runs_.push_back({static_cast<uint32_t>(start), run.begin});
      start += run.count;
    }
    ensure(start >= s.length && s.length >= s.rows, "a path is as long as its sequence, and that as its rows");
    path.runs = static_cast<uint32_t>(runs_.size()) - path.first_run;
    paths_.push_back(path);
    slots += s.length;
  }
  ensure(slots < UINT32_MAX, "the paths of a batch have fewer than 2^32 tokens");
  slots_ = static_cast<uint32_t>(slots);
  for (const Member& m : ordered_) rows_.push_back({m.row, m.visible});
}

uint64_t CudaAttentionPlan::cut(const AttentionLimits& limits, uint64_t most_cost) {
  items_.clear();
  merges_.clear();
  partial_ids_.clear();
  unfinished_.clear();
  partials_ = 0;
  covered_.assign(ordered_.size(), 0);
  merge_of_.assign(ordered_.size(), 0);
  cut_first_spans(limits, most_cost);
  for (uint32_t span = 1; !unfinished_.empty(); ++span) {
    cut_span(limits, span);
    std::erase_if(unfinished_, [&](uint32_t r) { return covered_[r] == spans_of(ordered_[r].visible); });
  }
  uint64_t sum = 0;
  for (const AttentionItem& item : items_) sum += cost(limits, item);
  return sum;
}

uint32_t CudaAttentionPlan::group_end(const AttentionLimits& limits, uint32_t first, uint32_t span) const {
  uint32_t end = first + 1;
  while (end < ordered_.size() && end - first < limits.item_rows && covered_[end] == span &&
         ordered_[end].visible > span * span_keys && ordered_[end].shared >= (span + 1) * span_keys) {
    ++end;
  }
  return end;
}

// Every row's first item. What is left of longer rows is cut span by span.
void CudaAttentionPlan::cut_first_spans(const AttentionLimits& limits, uint64_t most_cost) {
  const auto rows = static_cast<uint32_t>(ordered_.size());
  for (uint32_t first = 0, end; first < rows; first = end) {
    end = group_end(limits, first, 0);
    uint32_t widest = ordered_[first].visible, shared = all_shared;
    for (uint32_t r = first + 1; r < end; ++r) {
      widest = std::max(widest, ordered_[r].visible);
      shared = std::min(shared, ordered_[r].shared);
    }
    const uint64_t affordable = most_cost / (span_chunks * weight(limits, end - first));
    uint64_t spans = std::min(spans_of(widest), shared == all_shared ? UINT32_MAX : shared / span_keys);
    spans = std::max<uint64_t>(1, std::min(spans, affordable));
    for (uint32_t r = first; r < end; ++r) {
      const uint32_t all = spans_of(ordered_[r].visible);
      if (all <= spans) continue;
      merge_of_[r] = static_cast<uint32_t>(merges_.size());
      const auto ids = static_cast<uint32_t>(1 + all - spans);
      merges_.push_back({ordered_[r].row, static_cast<uint32_t>(partial_ids_.size()), ids});
      partial_ids_.resize(partial_ids_.size() + ids);
      unfinished_.push_back(r);
    }
    add_item(first, end, 0, static_cast<uint32_t>(spans));
  }
}

void CudaAttentionPlan::cut_span(const AttentionLimits& limits, uint32_t span) {
  for (uint32_t i = 0; i < unfinished_.size();) {
    const uint32_t first = unfinished_[i];
    if (covered_[first] != span) {
      ++i;
      continue;
    }
    const uint32_t end = group_end(limits, first, span);
    add_item(first, end, span, 1);
    i += end - first;  // all of them are unfinished
  }
}

void CudaAttentionPlan::add_item(uint32_t first, uint32_t end, uint32_t first_span, uint32_t spans) {
  uint32_t widest = first;
  bool partial = false;
  for (uint32_t r = first; r < end; ++r) {
    if (ordered_[r].visible > ordered_[widest].visible) widest = r;
    const uint32_t all = spans_of(ordered_[r].visible);
    if (first_span > 0 || all > spans) {
      AttentionMerge& merge = merges_[merge_of_[r]];
      // of the ids, the last is the last span's
      partial_ids_[merge.first + merge.count - 1 - (all - first_span - spans)] = partials_ + (r - first);
      partial = true;
    }
    covered_[r] = std::min(all, first_span + spans);
  }
  items_.push_back({first, end - first, paths_[ordered_[widest].sequence].slots, ordered_[widest].visible, first_span,
                    spans, partials_});
  if (partial) partials_ += end - first;
}

}  // namespace npr::compute
