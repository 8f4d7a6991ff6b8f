#include "schedule/device_lists.h"

#include <algorithm>

#include "sample/truncation.h"

namespace npr::schedule {

void DeviceLists::clear() { wanted_.clear(); }

void DeviceLists::add(const compute::PolicyRow& row, float threshold) { wanted_.push_back({row, 0, threshold}); }

void DeviceLists::add_largest(const compute::PolicyRow& row, uint32_t rank) { wanted_.push_back({row, rank, 0}); }

void DeviceLists::run(compute::Backend& backend, const float* logits, uint32_t vocab,
                      std::span<const compute::LogitEdit> edits) {
  const size_t count = wanted_.size();
  if (count == 0) return;
  place_.resize(count);
  rows_.clear();
  thresholds_.clear();
  std::vector<uint32_t> ranks;
  for (const bool ranked : {true, false}) {
    for (size_t i = 0; i < count; ++i) {
      const Wanted& wanted = wanted_[i];
      if ((wanted.rank > 0) != ranked) continue;
      place_[i] = static_cast<uint32_t>(rows_.size());
      rows_.push_back(wanted.row);
      thresholds_.push_back(wanted.threshold);
      if (ranked) ranks.push_back(wanted.rank);
    }
  }
  compute::Policies& policies = *backend.policies();
  const size_t groups = compute::groups_of(vocab);
  maxima_.resize(ranks.size() * groups);
  policies.group_maxima(logits, vocab, std::span(rows_).first(ranks.size()), edits, maxima_);
  backend.parallel(static_cast<uint32_t>(ranks.size()), [&](uint32_t i) {
    thresholds_[i] = sample::least_of_top_k(ranks[i], std::span(maxima_).subspan(i * groups, groups));
  });
  counts_.resize(count);
  if (entries_.size() < count * most) entries_.resize(count * most);
  policies.collect(logits, vocab, rows_, edits, thresholds_, most, counts_, std::span(entries_).first(count * most));
}

void DeviceLists::read(size_t i, sample::Candidates& out) const {
  const size_t at = place_[i];
  out.clear();
  for (const auto& [token, logit] : std::span(entries_).subspan(at * most, std::min(counts_[at], most))) {
    out.add(token, logit);
  }
}

}  // namespace npr::schedule
