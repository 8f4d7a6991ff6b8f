#include "schedule/device_draws.h"

#include <optional>

#include "sample/logit_row.h"
#include "sample/truncation.h"

namespace npr::schedule {
namespace {

using compute::PolicyRow;
using compute::PolicyValue;
using sample::Candidates;
using sample::Params;

// One of the candidates, of which truncation leaves some; `total` as truncate() takes it.
sample::Sampled draw_candidate(const Params& params, const PolicyRow& row, float max, std::optional<double> total,
                               Candidates& candidates) {
  sample::truncate(params, max, total, candidates);
  const double left = candidates.total_weight();
  const size_t at = candidates.pick(row.uniform * left);
  sample::Sampled out;
  out.token = candidates.token(at);
  out.policy_logprob = sample::log_probability(candidates.logit(at), max, row.scale, left);
  return out;
}

}  // namespace

void DeviceDraws::clear() {
  count_ = 0;
  batch_.clear();
  index_.clear();
  truncated_.clear();
  restricted_batch_.clear();
  restricted_.clear();
  picks_.clear();
  reported_.clear();
}

void DeviceDraws::add(const sample::Row& row, uint32_t at, const sample::PolicyBatch::Edits& edits) {
  const uint32_t index = count_++;
  if (row.logprobs >= 0) reported_.push_back({index, at, static_cast<uint32_t>(row.logprobs)});
  if (row.mask.restricted()) {
    const auto begin = static_cast<uint32_t>(picks_.size());
    row.mask.list(row.vocab, ids_);
    for (const int32_t token : ids_) picks_.push_back({static_cast<uint32_t>(restricted_.size()), token});
    restricted_batch_.draw(row, at, edits);
    restricted_.push_back({index, row.params, begin, static_cast<uint32_t>(picks_.size())});
    return;
  }
  if (row.params->truncates()) truncated_.push_back({static_cast<uint32_t>(index_.size()), row.params});
  batch_.draw(row, at, edits);
  index_.push_back(index);
}

void DeviceDraws::run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes) {
  draw_looked(backend, logits, vocab, outcomes);
  draw_truncated(backend, logits, vocab, outcomes);
  draw_restricted(backend, logits, vocab, outcomes);
  report(backend, logits, vocab, outcomes);
}

void DeviceDraws::draw_looked(compute::Backend& backend, const float* logits, uint32_t vocab,
                              std::span<Outcome> outcomes) {
  const auto rows = batch_.rows();
  values_.resize(rows.size());
  backend.policies()->look(logits, vocab, rows, batch_.edits(), values_);
  for (size_t i = 0; i < rows.size(); ++i) {
    Outcome& out = outcomes[index_[i]];
    out.kind = sample::possible(values_[i]) ? Outcome::Kind::drawn : Outcome::Kind::impossible;
    out.sampled.token = values_[i].token;
    out.sampled.policy_logprob = sample::logprob(rows[i], values_[i]);
  }
}

void DeviceDraws::draw_truncated(compute::Backend& backend, const float* logits, uint32_t vocab,
                                 std::span<Outcome> outcomes) {
  std::erase_if(truncated_, [&](const Truncated& each) { return !sample::possible(values_[each.row]); });
  lists_.clear();
  for (const auto& [row, params] : truncated_) {
    if (params->top_k > 0) {
      lists_.add_largest(batch_.rows()[row], params->top_k);
    } else {
      lists_.add(batch_.rows()[row], sample::least_of_top_p(*params, values_[row].max, values_[row].total, vocab));
    }
  }
  lists_.run(backend, logits, vocab, batch_.edits());
  backend.parallel(static_cast<uint32_t>(truncated_.size()), [&](uint32_t i) {
    thread_local Candidates candidates;
    const auto& [row, params] = truncated_[i];
    Outcome& out = outcomes[index_[row]];
    if (!lists_.listed(i)) {
      out.kind = Outcome::Kind::left;
      return;
    }
    lists_.read(i, candidates);
    out.sampled = draw_candidate(*params, batch_.rows()[row], values_[row].max, values_[row].total, candidates);
  });
}

void DeviceDraws::draw_restricted(compute::Backend& backend, const float* logits, uint32_t vocab,
                                  std::span<Outcome> outcomes) {
  if (restricted_.empty()) return;
  const auto rows = restricted_batch_.rows();
  picked_.resize(picks_.size());
  backend.policies()->gather(logits, vocab, rows, restricted_batch_.edits(), picks_, picked_);
  Candidates candidates;
  for (size_t i = 0; i < restricted_.size(); ++i) {
    const auto& [index, params, begin, end] = restricted_[i];
    candidates.clear();
    for (uint32_t pick = begin; pick < end; ++pick) candidates.add(picks_[pick].token, picked_[pick]);
    Outcome& out = outcomes[index];
    out.kind = candidates.size() > 0 ? Outcome::Kind::drawn : Outcome::Kind::impossible;
    if (candidates.size() == 0) continue;
    if (params->temperature > 0.0f) {
      out.sampled = draw_candidate(*params, rows[i], candidates.max(), {}, candidates);
    } else {
      candidates.keep_top_k(1);
      out.sampled.token = candidates.token(0);
    }
  }
}

void DeviceDraws::report(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes) {
  std::erase_if(reported_, [&](const Reported& each) { return outcomes[each.index].kind != Outcome::Kind::drawn; });
  if (reported_.empty()) return;
  scores_.clear();
  for (const auto& [index, at, top] : reported_) scores_.add(at, outcomes[index].sampled.token, top);
  scored_.assign(reported_.size(), {});
  scores_.run(backend, logits, vocab, scored_);
  for (size_t i = 0; i < reported_.size(); ++i) {
    Outcome& out = outcomes[reported_[i].index];
    if (!scored_[i].scored) out.kind = Outcome::Kind::left;
    out.sampled.logprob = scored_[i].score.logprob;
    out.sampled.top = std::move(scored_[i].score.top);
  }
}

}  // namespace npr::schedule
