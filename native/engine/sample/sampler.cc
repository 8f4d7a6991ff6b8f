#include "sample/sampler.h"

namespace npr::sample {

namespace {

void find_top(LogitRow& logits, uint32_t count, Candidates& candidates, std::vector<std::pair<int32_t, float>>& out) {
  out.clear();
  if (count == 0) return;
  logits.collect(logits.bound(count), candidates);
  candidates.top(count, out);
  for (auto& [token, value] : out) value = logits.log_softmax(token);
}

}  // namespace

Sampled sample(const Row& row, Scratch& scratch) {
  Sampled out;
  if (row.params->temperature > 0.0f) {
    const auto distribution = Distribution::of(row, scratch);
    out.token = distribution.pick(row.stream.uniform(row.index));
    out.policy_logprob = distribution.logprob(out.token);
  } else {
    out.token = Distribution::greedy(row, scratch);
  }
  if (row.logprobs >= 0) {
    // Untouched logits are the raw ones: their maxima, and at temperature 1 their sums, are at hand.
    LogitRow& raw = scratch.processed.changed() ? scratch.raw : scratch.processed;
    if (scratch.processed.changed()) raw.reset(row.logits, row.vocab);
    out.logprob = raw.log_softmax(out.token);
    find_top(raw, static_cast<uint32_t>(row.logprobs), scratch.candidates, out.top);
  }
  return out;
}

Score score(const float* logits, uint32_t vocab, int32_t token, uint32_t top, Scratch& scratch) {
  Score out;
  out.logprob = Distribution::raw(logits, vocab, scratch).logprob(token);
  find_top(scratch.raw, top, scratch.candidates, out.top);
  return out;
}

}  // namespace npr::sample
