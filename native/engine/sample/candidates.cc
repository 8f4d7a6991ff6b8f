#include "sample/candidates.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "sample/softmax_kernels.h"

namespace npr::sample {

namespace {

// Of two keys the larger has the larger value, or the same and the lower id.
uint64_t key(uint32_t ordered, int32_t token) { return (uint64_t{ordered} << 32) | ~static_cast<uint32_t>(token); }

// Unsigned integers in the order of finite floats; both zeros are one.
uint32_t ordered(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Weights are split by exponent and 4 bits of mantissa: 1.0, the largest, is in the last bucket.
constexpr uint32_t bucket_shift = 19;
constexpr uint32_t bucket(float weight) { return std::bit_cast<uint32_t>(weight) >> bucket_shift; }
constexpr uint32_t buckets = bucket(1.0f) + 1;

}  // namespace

void Candidates::clear() {
  tokens_.clear();
  logits_.clear();
  weights_.clear();
}

void Candidates::add(int32_t first, std::span<const float> logits, float threshold) {
  size_t count = size();
  tokens_.resize(count + logits.size());
  logits_.resize(count + logits.size());
  // Written always and kept where they pass: a flat distribution would mispredict every branch.
  for (size_t i = 0; i < logits.size(); ++i) {
    tokens_[count] = first + static_cast<int32_t>(i);
    logits_[count] = logits[i];
    count += static_cast<size_t>((logits[i] >= threshold) & (logits[i] <= std::numeric_limits<float>::max()));
  }
  tokens_.resize(count);
  logits_.resize(count);
}

bool Candidates::holds(int32_t token) const { return std::ranges::binary_search(tokens_, token); }

float Candidates::max() const {
  return logits_.empty() ? -std::numeric_limits<float>::infinity() : *std::max_element(logits_.begin(), logits_.end());
}

template <class Keep>
void Candidates::filter(Keep&& keep) {
  const bool weighed = !weights_.empty();
  size_t kept = 0;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const bool keeps = keep(i);
    tokens_[kept] = tokens_[i];
    logits_[kept] = logits_[i];
    if (weighed) weights_[kept] = weights_[i];
    kept += keeps;
  }
  tokens_.resize(kept);
  logits_.resize(kept);
}

void Candidates::rank() {
  keys_.resize(size());
  for (size_t i = 0; i < size(); ++i) keys_[i] = key(ordered(logits_[i]), tokens_[i]);
}

void Candidates::keep_top_k(uint32_t k) {
  if (k >= size()) return;
  rank();
  std::nth_element(keys_.begin(), keys_.begin() + (k - 1), keys_.end(), std::greater<>());
  const uint64_t last = keys_[k - 1];
  filter([&](size_t i) { return key(ordered(logits_[i]), tokens_[i]) >= last; });
}

void Candidates::weigh(float max, float scale) {
  weights_.resize((size() + 15) / 16 * 16);
  for (size_t i = 0; i < size(); i += chunk_entries) {
    const uint32_t n = static_cast<uint32_t>(std::min<size_t>(chunk_entries, size() - i));
    kernels().exp(logits_.data() + i, n, max, scale, weights_.data() + i);
  }
}

double Candidates::total_weight() const {
  double total = 0;
  for (size_t i = 0; i < size(); ++i) total += static_cast<double>(weights_[i]);
  return total;
}

void Candidates::keep_top_p(double p, double total) {
  const double wanted = p * total;
  masses_.assign(buckets, 0.0);
  for (size_t i = 0; i < size(); ++i) masses_[bucket(weights_[i])] += static_cast<double>(weights_[i]);
  double mass = 0;
  uint32_t crossing = buckets;
  do {
    if (crossing == 0) return;  // all of them together fall short, by rounding
    mass += masses_[--crossing];
  } while (mass == 0 || mass < wanted);
  mass -= masses_[crossing];

  keys_.clear();
  for (size_t i = 0; i < size(); ++i) {
    if (bucket(weights_[i]) == crossing) keys_.push_back(key(std::bit_cast<uint32_t>(weights_[i]), tokens_[i]));
  }
  std::sort(keys_.begin(), keys_.end(), std::greater<>());
  uint64_t last = keys_.back();
  for (const uint64_t k : keys_) {
    mass += static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(k >> 32)));
    if (mass < wanted) continue;
    last = k;
    break;
  }
  filter([&](size_t i) { return key(std::bit_cast<uint32_t>(weights_[i]), tokens_[i]) >= last; });
}

void Candidates::keep_weight(float least) {
  filter([&](size_t i) { return weights_[i] >= least; });
}

size_t Candidates::pick(double target) const {
  Pick pick(target);
  pick.add({weights_.data(), size()});
  return pick.index();
}

void Candidates::top(uint32_t n, std::vector<std::pair<int32_t, float>>& out) {
  rank();
  const size_t count = std::min<size_t>(n, size());
  std::partial_sort(keys_.begin(), keys_.begin() + static_cast<ptrdiff_t>(count), keys_.end(), std::greater<>());
  out.clear();
  for (size_t i = 0; i < count; ++i) {
    const int32_t token = static_cast<int32_t>(~static_cast<uint32_t>(keys_[i]));
    const auto at = std::lower_bound(tokens_.begin(), tokens_.end(), token) - tokens_.begin();
    out.emplace_back(token, logits_[static_cast<size_t>(at)]);
  }
}

bool Pick::add(std::span<const float> weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    sum_ += static_cast<double>(weights[i]);
    last_ = seen_ + i;
    if (sum_ > target_) return true;
  }
  seen_ += weights.size();
  return false;
}

}  // namespace npr::sample
