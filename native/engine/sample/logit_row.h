// One row of logits over the vocabulary, and what is computed of all of it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "sample/candidates.h"

namespace npr::sample {

// Natural logarithm of exp((logit - max) * scale) / total, for a finite logit; finite, too.
inline float log_probability(float logit, float max, float scale, double total) {
  const double distance = (static_cast<double>(logit) - static_cast<double>(max)) * static_cast<double>(scale);
  // 0 is added for -0: which of two zeros is the maximum depends on the device.
  return static_cast<float>(
      std::max(distance - std::log(total), -static_cast<double>(std::numeric_limits<float>::max())) + 0.0);
}

// Of the distribution of weights exp((logit - max) * scale), `total` in all: d logprob(t) / d logit(j) is scale * [t =
// j]
// + factor * weight(j), times `slope` / scale.
inline float gradient_factor(float slope, double total) {
  return static_cast<float>(-static_cast<double>(slope) / total);
}

// In nats; distances: the sum of weight * (logit - max).
inline double entropy_of(float scale, double total, double distances) {
  return std::log(total) - static_cast<double>(scale) * distances / total;
}

// Processors change a few entries of a row: only the chunks that hold them are copied. Maxima and sums are computed
// where first asked for and then kept, so that sampling and reported log-probabilities share them; set() comes before.
// Entries that are not finite count as minus infinity.
// Thread safety: one thread at a time; the buffers are reused from row to row.
class LogitRow {
 public:
  void reset(const float* logits, uint32_t vocab);  // [vocab], must stay alive and unchanged
  uint32_t vocab() const { return vocab_; }
  float operator[](int32_t token) const;
  void set(int32_t token, float value);
  bool changed() const { return changed_; }

  float max();
  int32_t argmax();  // the lowest id among equals; there must be a finite entry
  // Sum of exp((x - max) * scale): chunks of 4,096 entries summed by themselves, in units of their own maximum, and
  // merged in order.
  double sum_exp(float scale);
  // Log-softmax of one entry, -inf where it is not finite; there must be a finite entry.
  float log_softmax(int32_t token);
  // The entries from `begin` on, `most` of them or as many as its chunk has left.
  std::span<const float> entries(uint32_t begin, uint32_t most) const;
  // The token at which the running sum of exp((x - max) * scale), in order of ids, exceeds `target`.
  int32_t pick(float scale, double target);

  // least_of_top_k() of the groups' maxima.
  float bound(uint32_t k);
  // The finite entries that are at least `threshold`, which is finite, in order of ids.
  void collect(float threshold, Candidates& out);

 private:
  uint32_t chunk_size(size_t chunk) const;
  void find_maxima();
  void find_sums(float scale);

  uint32_t vocab_ = 0;
  const float* logits_ = nullptr;
  bool changed_ = false;
  std::vector<const float*> chunks_;  // into logits_, or into copies_ where changed
  std::vector<float> copies_;         // [vocab], filled chunk by chunk

  std::vector<float> group_max_;  // empty until computed
  std::vector<float> chunk_max_;
  float max_ = 0;
  float scale_ = -1;                // of the sums below; -1: not computed
  std::vector<double> chunk_sums_;  // in units of exp(chunk_max * scale)
  double sum_ = 0;                  // in units of exp(max * scale)
  std::vector<float> ordered_;
};

}  // namespace npr::sample
