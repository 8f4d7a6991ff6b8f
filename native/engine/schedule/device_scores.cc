#include "schedule/device_scores.h"

#include "sample/logit_row.h"

namespace npr::schedule {

void DeviceScores::clear() {
  batch_.clear();
  tops_.clear();
}

void DeviceScores::add(uint32_t at, int32_t token, uint32_t top) {
  batch_.look_raw(at, token);
  tops_.push_back(top);
}

void DeviceScores::run(compute::Backend& backend, const float* logits, uint32_t vocab, std::span<Outcome> outcomes) {
  const auto rows = batch_.rows();
  values_.resize(rows.size());
  backend.policies()->look(logits, vocab, rows, {}, values_);
  lists_.clear();
  listed_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    outcomes[i].scored = sample::possible(values_[i]);
    if (!outcomes[i].scored) continue;
    outcomes[i].score.logprob = sample::logprob(rows[i], values_[i]);
    if (tops_[i] == 0) continue;
    lists_.add_largest(rows[i], tops_[i]);
    listed_.push_back(static_cast<uint32_t>(i));
  }
  lists_.run(backend, logits, vocab, {});
  backend.parallel(static_cast<uint32_t>(listed_.size()), [&](uint32_t at) {
    thread_local sample::Candidates candidates;
    const uint32_t i = listed_[at];
    outcomes[i].scored = lists_.listed(at);
    if (!outcomes[i].scored) return;
    lists_.read(at, candidates);
    auto& top = outcomes[i].score.top;
    candidates.top(tops_[i], top);
    for (auto& [token, value] : top) value = sample::log_probability(value, values_[i].max, 1, values_[i].total);
  });
}

}  // namespace npr::schedule
