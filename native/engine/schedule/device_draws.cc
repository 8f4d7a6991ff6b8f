#include "schedule/device_draws.h"

#include <algorithm>

#include "sample/logit_row.h"
#include "sample/truncation.h"

namespace npr::schedule {
namespace {

using compute::LogitEntry;
using compute::PolicyRow;
using compute::PolicyValue;
using sample::Candidates;
using sample::Params;

// Entries that are listed of a row, 64 KB; one of which more may come is the host's.
constexpr uint32_t most_listed = 8192;

sample::Sampled draw_listed(const Params& params, const PolicyRow& row, const PolicyValue& value,
                            std::span<const LogitEntry> entries, Candidates& candidates) {
  candidates.clear();
  for (const LogitEntry& entry : entries) candidates.add(entry.token, {&entry.logit, 1}, entry.logit);
  sample::truncate(params, value.max, value.total, candidates);
  const double total = candidates.total_weight();
  const size_t at = candidates.pick(row.uniform * total);
  sample::Sampled out;
  out.token = candidates.token(at);
  out.policy_logprob = sample::log_probability(candidates.logit(at), value.max, row.scale, total);
  return out;
}

}  // namespace

void DeviceDraws::clear() {
  batch_.clear();
  truncated_.clear();
}

bool DeviceDraws::add(const sample::Row& row, uint32_t at) {
  if (!batch_.draw(row, at)) return false;
  if (row.params->truncates()) {
    truncated_.push_back({static_cast<uint32_t>(batch_.rows().size()) - 1, row.params});
  }
  return true;
}

void DeviceDraws::run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes) {
  const auto rows = batch_.rows();
  values_.resize(rows.size());
  backend.policies()->look(logits, vocab, rows, batch_.edits(), values_);
  for (size_t i = 0; i < rows.size(); ++i) {
    outcomes[i].kind = sample::possible(values_[i]) ? Outcome::Kind::drawn : Outcome::Kind::impossible;
    outcomes[i].sampled.token = values_[i].token;
    outcomes[i].sampled.policy_logprob = sample::logprob(rows[i], values_[i]);
  }
  std::erase_if(truncated_, [&](const Truncated& row) { return !sample::possible(values_[row.index]); });
  if (!truncated_.empty()) run_truncated(backend, logits, vocab, outcomes);
}

void DeviceDraws::run_truncated(compute::Backend& backend, const float* logits, uint32_t vocab,
                                std::span<Outcome> outcomes) {
  compute::Policies& policies = *backend.policies();
  // Those with top_k first: their thresholds come from the maxima of groups.
  std::ranges::stable_partition(truncated_, [](const Truncated& row) { return row.params->top_k > 0; });
  rows_.clear();
  size_t top_k = 0;
  for (const Truncated& row : truncated_) {
    rows_.push_back(batch_.rows()[row.index]);
    top_k += row.params->top_k > 0;
  }
  const size_t groups = compute::groups_of(vocab), count = rows_.size();
  maxima_.resize(top_k * groups);
  policies.group_maxima(logits, vocab, std::span(rows_).first(top_k), batch_.edits(), maxima_);
  thresholds_.resize(count);
  backend.parallel(static_cast<uint32_t>(count), [&](uint32_t i) {
    const Params& params = *truncated_[i].params;
    const PolicyValue& value = values_[truncated_[i].index];
    thresholds_[i] = i < top_k ? sample::least_of_top_k(params.top_k, std::span(maxima_).subspan(i * groups, groups))
                               : sample::least_of_top_p(params, value.max, value.total, vocab);
  });
  counts_.resize(count);
  if (entries_.size() < count * most_listed) entries_.resize(count * most_listed);
  policies.collect(logits, vocab, rows_, batch_.edits(), thresholds_, most_listed, counts_,
                   std::span(entries_).first(count * most_listed));
  backend.parallel(static_cast<uint32_t>(count), [&](uint32_t i) {
    thread_local Candidates candidates;
    Outcome& out = outcomes[truncated_[i].index];
    if (counts_[i] > most_listed) {
      out.kind = Outcome::Kind::left;
      return;
    }
    out.sampled = draw_listed(*truncated_[i].params, rows_[i], values_[truncated_[i].index],
                              std::span(entries_).subspan(i * most_listed, counts_[i]), candidates);
  });
}

}  // namespace npr::schedule
