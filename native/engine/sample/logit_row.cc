#include "sample/logit_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"
#include "sample/softmax_kernels.h"
#include "sample/truncation.h"

namespace npr::sample {

namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();
constexpr size_t chunk_groups = chunk_entries / group_entries;

}  // namespace

void LogitRow::reset(const float* logits, uint32_t vocab) {
  logits_ = logits;
  vocab_ = vocab;
  changed_ = false;
  chunks_.clear();
  for (uint32_t i = 0; i < vocab; i += chunk_entries) chunks_.push_back(logits + i);
  group_max_.clear();
  scale_ = -1;
}

uint32_t LogitRow::chunk_size(size_t chunk) const {
  return std::min(chunk_entries, vocab_ - static_cast<uint32_t>(chunk) * chunk_entries);
}

float LogitRow::operator[](int32_t token) const {
  const auto i = static_cast<uint32_t>(token);
  ensure(i < vocab_, "a token id lies in the vocabulary");
  return chunks_[i / chunk_entries][i % chunk_entries];
}

void LogitRow::set(int32_t token, float value) {
  const auto i = static_cast<uint32_t>(token);
  ensure(i < vocab_, "a token id lies in the vocabulary");
  ensure(group_max_.empty(), "a row of logits is changed before it is reduced");
  changed_ = true;
  copies_.resize(vocab_);
  const uint32_t chunk = i / chunk_entries;
  float* const copy = copies_.data() + size_t{chunk} * chunk_entries;
  if (chunks_[chunk] != copy) {
    std::copy_n(chunks_[chunk], chunk_size(chunk), copy);
    chunks_[chunk] = copy;
  }
  copy[i % chunk_entries] = value;
}

void LogitRow::find_maxima() {
  if (!group_max_.empty()) return;
  group_max_.resize((vocab_ + group_entries - 1) / group_entries);
  chunk_max_.clear();
  for (size_t c = 0; c < chunks_.size(); ++c) {
    const auto begin = group_max_.begin() + static_cast<ptrdiff_t>(c * chunk_groups);
    kernels().group_max(chunks_[c], chunk_size(c), &*begin);
    const auto end = group_max_.size() - c * chunk_groups > chunk_groups ? begin + chunk_groups : group_max_.end();
    chunk_max_.push_back(*std::max_element(begin, end));
  }
  max_ = *std::max_element(chunk_max_.begin(), chunk_max_.end());
}

float LogitRow::max() {
  find_maxima();
  return max_;
}

int32_t LogitRow::argmax() {
  find_maxima();
  const size_t group = static_cast<size_t>(std::find(group_max_.begin(), group_max_.end(), max_) - group_max_.begin());
  auto token = static_cast<int32_t>(group * group_entries);
  while ((*this)[token] != max_) ++token;
  return token;
}

void LogitRow::find_sums(float scale) {
  find_maxima();
  if (scale_ == scale) return;
  scale_ = scale;
  chunk_sums_.clear();
  sum_ = 0;
  for (size_t c = 0; c < chunks_.size(); ++c) {
    const bool empty = chunk_max_[c] == minus_infinity;
    chunk_sums_.push_back(empty ? 0 : kernels().sum_exp(chunks_[c], chunk_size(c), chunk_max_[c], scale));
    sum_ += chunk_sums_[c] * static_cast<double>(exp_nonpositive((chunk_max_[c] - max_) * scale));
  }
}

double LogitRow::sum_exp(float scale) {
  find_sums(scale);
  return sum_;
}

float LogitRow::log_softmax(int32_t token) {
  const float x = (*this)[token];
  if (!std::isfinite(x)) return minus_infinity;
  return log_probability(x, max(), 1.0f, sum_exp(1.0f));
}

std::span<const float> LogitRow::entries(uint32_t begin, uint32_t most) const {
  const uint32_t chunk = begin / chunk_entries, at = begin % chunk_entries;
  return {chunks_[chunk] + at, std::min(most, chunk_size(chunk) - at)};
}

int32_t LogitRow::pick(float scale, double target) {
  find_sums(scale);
  size_t chosen = 0;
  double before = 0, unit = 1, sum = 0;
  for (size_t c = 0; c < chunks_.size() && sum <= target; ++c) {
    const auto chunk_unit = static_cast<double>(exp_nonpositive((chunk_max_[c] - max_) * scale));
    const double mass = chunk_sums_[c] * chunk_unit;
    if (mass == 0) continue;
    chosen = c;
    unit = chunk_unit;
    before = sum;
    sum += mass;
  }
  // Weights a piece at a time: half of them, on the average, need not be known.
  Pick pick((target - before) / unit);
  float weights[group_entries];
  const uint32_t n = chunk_size(chosen);
  for (uint32_t begin = 0; begin < n; begin += group_entries) {
    const uint32_t some = std::min(group_entries, n - begin);
    kernels().exp(chunks_[chosen] + begin, some, chunk_max_[chosen], scale, weights);
    if (pick.add({weights, some})) break;
  }
  return static_cast<int32_t>(chosen * chunk_entries + pick.index());
}

float LogitRow::bound(uint32_t k) {
  find_maxima();
  ordered_ = group_max_;
  return least_of_top_k(k, ordered_);
}

void LogitRow::collect(float threshold, Candidates& out) {
  find_maxima();
  out.clear();
  for (size_t g = 0; g < group_max_.size(); ++g) {
    if (group_max_[g] < threshold) continue;
    const auto begin = static_cast<uint32_t>(g) * group_entries;
    out.add(static_cast<int32_t>(begin), entries(begin, group_entries), threshold);
  }
}

}  // namespace npr::sample
