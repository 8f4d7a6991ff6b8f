#include "sample/policy.h"

#include <algorithm>

#include "sample/penalties.h"

namespace npr::sample {

Policy::Policy(const Row& row, Scratch& scratch) : scratch_(scratch), vocab_(row.vocab) {
  scratch.slopes.clear();
  if (!(row.params->temperature > 0.0f)) return;
  distribution_ = Distribution::of(row, scratch);
  for_each_repeated(row, [&](uint32_t, int32_t token, float penalty) {
    scratch.slopes.emplace_back(token, repeated_slope(row.logits[token], penalty));
  });
}

Policy::Policy(const float* logits, uint32_t vocab, Scratch& scratch)
    : scratch_(scratch), vocab_(vocab), distribution_(Distribution::raw(logits, vocab, scratch)) {
  scratch.slopes.clear();
}

float Policy::logprob(int32_t token) const { return distribution_ ? distribution_->logprob(token) : 0.0f; }

double Policy::entropy() const { return distribution_ ? distribution_->entropy() : 0.0; }

double Policy::differentiate(int32_t token, float coefficient, float* logits) const {
  if (!distribution_) {
    std::fill_n(logits, vocab_, 0.0f);
    return 0;
  }
  const double entropy = distribution_->differentiate(token, coefficient, logits);
  for (const auto& [penalized, slope] : scratch_.slopes) logits[penalized] *= slope;
  return entropy;
}

}  // namespace npr::sample
