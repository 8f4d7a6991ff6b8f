#include "sample/policy_batch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"
#include "sample/logit_row.h"
#include "sample/penalties.h"

namespace npr::sample {

namespace {

using compute::LogitEdit;
using compute::PolicyRow;
using compute::PolicySlope;
using compute::PolicyValue;

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
// They are sent, 64 KB, and each chunk of a row looks at all of them, which is four times what it reads of the row.
// That takes microseconds; beyond it the host, which copies the row, may as well.
constexpr size_t most_edits = 8192;

// What any list of the row's tokens has at least.
size_t least_edits(const Row& row) {
  const Params& p = *row.params;
  const bool repeats = p.repetition_penalty != 1.0f;
  size_t most = 0;
  if (repeats && row.prompt) most = row.prompt->entries().size();
  if (repeats || p.presence_penalty != 0.0f || p.frequency_penalty != 0.0f) {
    for (const Histogram* layer : row.response) most = std::max(most, layer->entries().size());
  }
  return most;
}

bool greedy(const PolicyRow& row) { return row.which == PolicyRow::Token::largest; }

PolicyRow row_at(uint32_t at, PolicyRow::Token which, int32_t token, double uniform) {
  return {at, which, token, 1, uniform, 0, {}};
}

}  // namespace

void PolicyBatch::clear() {
  rows_.clear();
  edits_.clear();
}

bool PolicyBatch::edits_of(const Row& row, Edits& out) {
  const Params& p = *row.params;
  out.list.clear();
  out.ends = {};
  if (least_edits(row) > most_edits) return false;
  size_t turn = 0;
  const auto end_turn = [&] { out.ends[turn++] = static_cast<uint32_t>(out.list.size()); };
  for_each_repeated(row, [&](uint32_t of, int32_t token, float penalty) {
    while (turn < of) end_turn();
    out.list.push_back({token, penalty});
  });
  while (turn < compute::multiplying_turns) end_turn();
  if (p.frequency_penalty != 0.0f) {
    for_each_distinct(row.response, [&](int32_t token, uint32_t count) {
      out.list.push_back({token, -(p.frequency_penalty * static_cast<float>(count))});
    });
  }
  end_turn();
  if (p.presence_penalty != 0.0f) {
    for_each_distinct(row.response, [&](int32_t token, uint32_t) { out.list.push_back({token, -p.presence_penalty}); });
  }
  end_turn();
  const auto by_token = [](const LogitEdit& a, const LogitEdit& b) { return a.token < b.token; };
  const auto same_token = [](const LogitEdit& a, const LogitEdit& b) { return a.token == b.token; };
  const auto begin_biases = static_cast<ptrdiff_t>(out.list.size());
  for (const auto& [token, bias] : p.logit_bias) out.list.push_back({token, bias});
  std::sort(out.list.begin() + begin_biases, out.list.end(), by_token);
  if (std::adjacent_find(out.list.begin() + begin_biases, out.list.end(), same_token) != out.list.end()) return false;
  end_turn();
  const auto begin_forbidden = static_cast<ptrdiff_t>(out.list.size());
  for (const auto list : row.mask.forbidden()) {
    for (const int32_t token : list) {
      if (static_cast<uint32_t>(token) < row.vocab) out.list.push_back({token, minus_infinity});
    }
  }
  std::sort(out.list.begin() + begin_forbidden, out.list.end(), by_token);
  out.list.erase(std::unique(out.list.begin() + begin_forbidden, out.list.end(), same_token), out.list.end());
  end_turn();
  return out.list.size() <= most_edits;
}

void PolicyBatch::draw(const Row& row, uint32_t at, const Edits& edits) {
  const bool sampled = row.params->temperature > 0.0f;
  const auto which = row.params->truncates() ? PolicyRow::Token::given
                     : sampled               ? PolicyRow::Token::drawn
                                             : PolicyRow::Token::largest;
  add(row, row_at(at, which, 0, sampled ? row.stream.uniform(row.index) : 0), edits);
}

bool PolicyBatch::look(const Row& row, uint32_t at, int32_t token) {
  ensure(static_cast<uint32_t>(token) < row.vocab, "a token id lies in the vocabulary");
  const bool sampled = row.params->temperature > 0.0f;
  if (row.params->truncates() || row.params->penalizes() || row.mask.restricted() || !edits_of(row, looked_)) {
    return false;
  }
  add(row, row_at(at, sampled ? PolicyRow::Token::given : PolicyRow::Token::largest, token, 0), looked_);
  return true;
}

void PolicyBatch::look_raw(uint32_t at, int32_t token) {
  ensure(token >= 0, "a token id lies in the vocabulary");
  PolicyRow row = row_at(at, PolicyRow::Token::given, token, 0);
  row.edits_begin = static_cast<uint32_t>(edits_.size());
  std::ranges::fill(row.edits_end, row.edits_begin);
  rows_.push_back(row);
}

void PolicyBatch::shift(uint32_t by) {
  for (PolicyRow& row : rows_) row.row += by;
}

void PolicyBatch::add(const Row& row, PolicyRow policy, const Edits& edits) {
  if (row.params->temperature > 0.0f) policy.scale = row.params->scale();
  policy.edits_begin = static_cast<uint32_t>(edits_.size());
  for (size_t turn = 0; turn < compute::edit_turns; ++turn) {
    policy.edits_end[turn] = policy.edits_begin + edits.ends[turn];
  }
  edits_.insert(edits_.end(), edits.list.begin(), edits.list.end());
  rows_.push_back(policy);
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
