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
  reported_.clear();
}

void DeviceDraws::add(const sample::Row& row, uint32_t at, const sample::PolicyBatch::Edits& edits) {
  const auto index = static_cast<uint32_t>(batch_.rows().size());
  batch_.draw(row, at, edits);
  if (row.params->truncates()) truncated_.push_back({index, row.params});
  if (row.logprobs >= 0) reported_.push_back({index, static_cast<uint32_t>(row.logprobs)});
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
  draw_truncated(backend, logits, vocab, outcomes);
  report(backend, logits, vocab, outcomes);
}

void DeviceDraws::draw_truncated(compute::Backend& backend, const float* logits, uint32_t vocab,
                                 std::span<Outcome> outcomes) {
  std::erase_if(truncated_, [&](const Truncated& row) { return !sample::possible(values_[row.index]); });
  lists_.clear();
  for (const auto& [index, params] : truncated_) {
    const PolicyRow& row = batch_.rows()[index];
    if (params->top_k > 0) {
      lists_.add_largest(row, params->top_k);
    } else {
      lists_.add(row, sample::least_of_top_p(*params, values_[index].max, values_[index].total, vocab));
    }
  }
  lists_.run(backend, logits, vocab, batch_.edits());
  backend.parallel(static_cast<uint32_t>(truncated_.size()), [&](uint32_t i) {
    thread_local Candidates candidates;
    const auto& [index, params] = truncated_[i];
    Outcome& out = outcomes[index];
    if (lists_.listed(i)) {
      out.sampled = draw_listed(*params, batch_.rows()[index], values_[index], lists_.entries(i), candidates);
    } else {
      out.kind = Outcome::Kind::left;
    }
  });
}

void DeviceDraws::report(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes) {
  std::erase_if(reported_, [&](const Reported& row) { return outcomes[row.index].kind != Outcome::Kind::drawn; });
  if (reported_.empty()) return;
  scores_.clear();
  for (const auto& [index, top] : reported_) {
    scores_.add(batch_.rows()[index].row, outcomes[index].sampled.token, top);
  }
  scored_.resize(reported_.size());
  scores_.run(backend, logits, vocab, scored_);
  for (size_t i = 0; i < reported_.size(); ++i) {
    Outcome& out = outcomes[reported_[i].index];
    if (!scored_[i].scored) out.kind = Outcome::Kind::left;
    out.sampled.logprob = scored_[i].score.logprob;
    out.sampled.top = std::move(scored_[i].score.top);
  }
}

}  // namespace npr::schedule
