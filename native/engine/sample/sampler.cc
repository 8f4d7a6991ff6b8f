#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"

namespace npr::sample {

namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

float repeated(float logit, float penalty) { return logit > 0 ? logit / penalty : logit * penalty; }

void penalize(const Row& row, LogitRow& logits) {
  const Params& p = *row.params;
  if (p.repetition_penalty != 1.0f) {
    std::vector<const Histogram*> visible(row.response.begin(), row.response.end());
    if (row.prompt) visible.push_back(row.prompt);
    for_each_distinct(
        visible, [&](int32_t token, uint32_t) { logits.set(token, repeated(logits[token], p.repetition_penalty)); });
  }
  if (p.branch_repetition_penalty != 1.0f && row.branch_sampled) {
    for (const Histogram::Entry& entry : row.branch_sampled->entries()) {
      logits.set(entry.token, repeated(logits[entry.token], p.branch_repetition_penalty));
    }
  }
  if (p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f) {
    for_each_distinct(row.response, [&](int32_t token, uint32_t count) {
      logits.set(token, logits[token] - p.frequency_penalty * static_cast<float>(count) - p.presence_penalty);
    });
  }
}

void process(const Row& row, LogitRow& logits) {
  logits.reset(row.logits, row.vocab);
  penalize(row, logits);
  for (const auto& [token, bias] : row.params->logit_bias) logits.set(token, logits[token] + bias);
  for (const auto list : row.mask.forbidden()) {
    for (const int32_t token : list) {
      if (static_cast<uint32_t>(token) < row.vocab) logits.set(token, minus_infinity);
    }
  }
}

// The tokens that a restricting mask allows.
void collect_allowed(const TokenMask& mask, const LogitRow& logits, std::vector<int32_t>& ids, Candidates& out) {
  ids.clear();
  for (const auto list : mask.allowed()) ids.insert(ids.end(), list.begin(), list.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  out.clear();
  for (const int32_t id : ids) {
    if (static_cast<uint32_t>(id) >= logits.vocab()) continue;
    const float logit = logits[id];
    out.add(id, {&logit, 1}, std::numeric_limits<float>::lowest());
  }
}

[[noreturn]] void throw_nothing_left(const float* logits, uint32_t vocab) {
  const auto finite = std::count_if(logits, logits + vocab, [](float x) { return std::isfinite(x); });
  throw Error(ErrorCode::internal, "no token can be sampled: " + std::to_string(finite) + " of " +
                                       std::to_string(vocab) + " logits are finite" +
                                       (finite ? ", and the mask allows none of them" : ""));
}

// A logit below which top_p (of all entries) and min_p keep nothing. Entries lighter than (1 - top_p) / vocab weigh at
// most 1 - top_p together. The margin covers rounding; the truncations themselves are exact.
float threshold(const Params& p, LogitRow& logits, float scale) {
  double weight = p.min_p;
  if (p.top_p < 1.0f) {
    const double rest = 1.0 - std::max(0.0, static_cast<double>(p.top_p));
    weight = std::max(weight, rest * logits.sum_exp(scale) / logits.vocab());
  }
  const double margin = 1e-3 + 1e-6 * std::abs(static_cast<double>(logits.max()) * static_cast<double>(scale));
  const double least = static_cast<double>(logits.max()) + (std::log(weight) - margin) / static_cast<double>(scale);
  return static_cast<float>(std::max(least, static_cast<double>(std::numeric_limits<float>::lowest())));
}

void draw(const Row& row, Scratch& scratch, Sampled& out) {
  const Params& p = *row.params;
  LogitRow& logits = scratch.processed;
  Candidates& candidates = scratch.candidates;
  const bool restricted = row.mask.restricted();
  if (restricted) collect_allowed(row.mask, logits, scratch.ids, candidates);
  const float max = restricted ? candidates.max() : logits.max();
  if (max == minus_infinity) throw_nothing_left(row.logits, row.vocab);

  const float scale = std::min(1.0f / p.temperature, 1e30f);
  const double uniform = row.stream.uniform(row.index);
  const auto log_prob = [&](int32_t token, double total) {
    const double distance = static_cast<double>(logits[token]) - static_cast<double>(max);
    return static_cast<float>(distance * static_cast<double>(scale) - std::log(total));
  };

  const bool truncated = p.top_k > 0 || p.top_p < 1.0f || p.min_p > 0.0f;
  if (!restricted && !truncated) {
    const double total = logits.sum_exp(scale);
    out.token = logits.pick(scale, uniform * total);
    out.policy_logprob = log_prob(out.token, total);
    return;
  }
  if (!restricted) logits.collect(p.top_k > 0 ? logits.bound(p.top_k) : threshold(p, logits, scale), candidates);
  if (p.top_k > 0) candidates.keep_top_k(p.top_k);
  candidates.weigh(max, scale);
  if (p.top_p < 1.0f) {
    const bool all = restricted || p.top_k > 0;
    candidates.keep_top_p(static_cast<double>(p.top_p), all ? candidates.total_weight() : logits.sum_exp(scale));
  }
  if (p.min_p > 0.0f) candidates.keep_weight(std::min(p.min_p, 1.0f));
  const double total = candidates.total_weight();
  out.token = candidates.token(candidates.pick(uniform * total));
  out.policy_logprob = log_prob(out.token, total);
}

int32_t greedy(const Row& row, Scratch& scratch) {
  if (!row.mask.restricted()) {
    if (scratch.processed.max() == minus_infinity) throw_nothing_left(row.logits, row.vocab);
    return scratch.processed.argmax();
  }
  Candidates& candidates = scratch.candidates;
  collect_allowed(row.mask, scratch.processed, scratch.ids, candidates);
  if (candidates.size() == 0) throw_nothing_left(row.logits, row.vocab);
  candidates.keep_top_k(1);
  return candidates.token(0);
}

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
  process(row, scratch.processed);
  if (row.params->temperature > 0.0f) {
    draw(row, scratch, out);
  } else {
    out.token = greedy(row, scratch);
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
  LogitRow& raw = scratch.raw;
  raw.reset(logits, vocab);
  if (raw.max() == minus_infinity) throw_nothing_left(logits, vocab);
  Score out;
  out.logprob = raw.log_softmax(token);
  find_top(raw, top, scratch.candidates, out.top);
  return out;
}

}  // namespace npr::sample
