#include "sample/distribution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "error.h"
#include "sample/penalties.h"
#include "sample/softmax_kernels.h"
#include "sample/truncation.h"

namespace npr::sample {

namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

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
  mask.list(logits.vocab(), ids);
  out.clear();
  for (const int32_t id : ids) out.add(id, logits[id]);
}

[[noreturn]] void throw_nothing_left(const float* logits, uint32_t vocab) {
  const auto finite = std::count_if(logits, logits + vocab, [](float x) { return std::isfinite(x); });
  throw Error(ErrorCode::internal, "no token can be sampled: " + std::to_string(finite) + " of " +
                                       std::to_string(vocab) + " logits are finite" +
                                       (finite ? ", and the mask allows none of them" : ""));
}

}  // namespace

Distribution Distribution::of(const Row& row, Scratch& scratch) {
  process(row, scratch.processed);
  const Params& p = *row.params;
  LogitRow& logits = scratch.processed;
  Candidates& candidates = scratch.candidates;
  Distribution out(logits, candidates);
  const bool restricted = row.mask.restricted();
  if (restricted) collect_allowed(row.mask, logits, scratch.ids, candidates);
  out.max_ = restricted ? candidates.max() : logits.max();
  if (out.max_ == minus_infinity) throw_nothing_left(row.logits, row.vocab);

  const float scale = out.scale_ = p.scale();
  out.listed_ = restricted || p.truncates();
  if (!out.listed_) {
    out.total_ = logits.sum_exp(scale);
    return out;
  }
  std::optional<double> total;
  if (!restricted) {
    if (p.top_p < 1.0f && p.top_k == 0) total = logits.sum_exp(scale);
    logits.collect(p.top_k > 0 ? logits.bound(p.top_k) : least_of_top_p(p, out.max_, total.value_or(0), row.vocab),
                   candidates);
  }
  truncate(p, out.max_, total, candidates);
  out.total_ = candidates.total_weight();
  return out;
}

int32_t Distribution::greedy(const Row& row, Scratch& scratch) {
  process(row, scratch.processed);
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

Distribution Distribution::raw(const float* logits, uint32_t vocab, Scratch& scratch) {
  scratch.raw.reset(logits, vocab);
  Distribution out(scratch.raw, scratch.candidates);
  out.max_ = scratch.raw.max();
  if (out.max_ == minus_infinity) throw_nothing_left(logits, vocab);
  out.total_ = scratch.raw.sum_exp(1.0f);
  return out;
}

int32_t Distribution::pick(double uniform) const {
  const double target = uniform * total_;
  return listed_ ? candidates_->token(candidates_->pick(target)) : logits_->pick(scale_, target);
}

bool Distribution::holds(int32_t token) const {
  return listed_ ? candidates_->holds(token) : std::isfinite((*logits_)[token]);
}

float Distribution::logprob(int32_t token) const {
  return holds(token) ? log_probability((*logits_)[token], max_, scale_, total_) : minus_infinity;
}

double Distribution::differentiate(int32_t token, float coefficient, float* gradient) const {
  // d logprob(t) / d logit(j) = scale * ([t = j] - p(j)) for the j that may come.
  const float slope = holds(token) ? coefficient * scale_ : 0;
  const double entropy = pass(gradient_factor(slope, total_), gradient);
  gradient[token] += slope;
  return entropy;
}

double Distribution::pass(float factor, float* gradient) const {
  const uint32_t vocab = logits_->vocab();
  double distances = 0;
  if (listed_) {
    if (gradient) std::fill_n(gradient, vocab, 0.0f);
    for (size_t i = 0; i < candidates_->size(); ++i) {
      const float weight = candidates_->weight(i), logit = candidates_->logit(i);
      if (weight > 0) distances += static_cast<double>(weight * (logit - max_));
      if (gradient) gradient[candidates_->token(i)] = factor * weight;
    }
  } else {
    float weights[chunk_entries];
    for (uint32_t begin = 0; begin < vocab; begin += chunk_entries) {
      const auto logits = logits_->entries(begin, chunk_entries);
      const size_t n = logits.size();
      distances += kernels().exp_distances(logits.data(), static_cast<uint32_t>(n), max_, scale_, weights);
      if (!gradient) continue;
      float* const out = gradient + begin;
      for (size_t i = 0; i < n; ++i) out[i] = factor * weights[i];
    }
  }
  return entropy_of(scale_, total_, distances);
}

}  // namespace npr::sample
