#include "sample/policy_batch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"
#include "sample/logit_row.h"

namespace npr::sample {

namespace {

using compute::LogitEdit;
using compute::PolicyRow;
using compute::PolicySlope;
using compute::PolicyValue;

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
// Every chunk of a row looks at all of its edits: beyond this the host, which does not, is as fast.
constexpr size_t most_edits = 1024;

bool greedy(const PolicyRow& row) { return row.which == PolicyRow::Token::largest; }

}  // namespace

void PolicyBatch::clear() {
  rows_.clear();
  edits_.clear();
}

bool PolicyBatch::draw(const Row& row, uint32_t at) {
  if (row.logprobs >= 0) return false;  // the raw logits are wanted, too
  const bool sampled = row.params->temperature > 0.0f;
  return add(row, {.row = at,
                   .which = row.params->truncates() ? PolicyRow::Token::given
                            : sampled               ? PolicyRow::Token::drawn
                                                    : PolicyRow::Token::largest,
                   .token = 0,
                   .scale = 1,
                   .uniform = sampled ? row.stream.uniform(row.index) : 0,
                   .edits_begin = 0,
                   .edits_end = 0});
}

bool PolicyBatch::look(const Row& row, uint32_t at, int32_t token) {
  ensure(static_cast<uint32_t>(token) < row.vocab, "a token id lies in the vocabulary");
  const bool sampled = row.params->temperature > 0.0f;
  if (row.params->truncates()) return false;
  return add(row, {.row = at,
                   .which = sampled ? PolicyRow::Token::given : PolicyRow::Token::largest,
                   .token = token,
                   .scale = 1,
                   .uniform = 0,
                   .edits_begin = 0,
                   .edits_end = 0});
}

bool PolicyBatch::look(uint32_t at, int32_t token) {
  ensure(token >= 0, "a token id lies in the vocabulary");
  const auto none = static_cast<uint32_t>(edits_.size());
  rows_.push_back({at, PolicyRow::Token::given, token, 1, 0, none, none});
  return true;
}

void PolicyBatch::shift(uint32_t by) {
  for (PolicyRow& row : rows_) row.row += by;
}

bool PolicyBatch::add(const Row& row, PolicyRow policy) {
  const Params& p = *row.params;
  if (row.mask.restricted() || p.penalizes()) return false;
  if (p.temperature > 0.0f) policy.scale = p.scale();
  const size_t begin = edits_.size();
  for (const auto& [token, bias] : p.logit_bias) edits_.push_back({token, bias});
  for (const auto list : row.mask.forbidden()) {
    for (const int32_t token : list) {
      if (static_cast<uint32_t>(token) < row.vocab) edits_.push_back({token, minus_infinity});
    }
  }
  // Of a token that is forbidden the bias says nothing, nor does a second time. Two biases are added one by one.
  const auto first = edits_.begin() + static_cast<ptrdiff_t>(begin);
  std::stable_sort(first, edits_.end(), [](const LogitEdit& a, const LogitEdit& b) {
    return a.token != b.token ? a.token < b.token : a.bias == minus_infinity && b.bias != minus_infinity;
  });
  size_t kept = begin;
  for (size_t i = begin; i < edits_.size(); ++i) {
    const bool again = kept > begin && edits_[kept - 1].token == edits_[i].token;
    if (again && edits_[kept - 1].bias == minus_infinity) continue;
    if (again || kept - begin == most_edits) {
      edits_.resize(begin);
      return false;
    }
    edits_[kept++] = edits_[i];
  }
  edits_.resize(kept);
  policy.edits_begin = static_cast<uint32_t>(begin);
  policy.edits_end = static_cast<uint32_t>(kept);
  rows_.push_back(policy);
  return true;
}

bool possible(const PolicyValue& value) { return value.max != minus_infinity; }

float logprob(const PolicyRow& row, const PolicyValue& value) {
  if (greedy(row)) return 0;
  return std::isfinite(value.logit) ? log_probability(value.logit, value.max, row.scale, value.total) : minus_infinity;
}

PolicySlope slope(const PolicyRow& row, const PolicyValue& value, float coefficient) {
  if (greedy(row)) return {0, 0, false};
  const float slope = std::isfinite(value.logit) ? coefficient * row.scale : 0;
  return {gradient_factor(slope, value.total), slope, true};
}

double entropy(const PolicyRow& row, const PolicyValue& value, double distances) {
  return greedy(row) ? 0 : entropy_of(row.scale, value.total, distances);
}

}  // namespace npr::sample
