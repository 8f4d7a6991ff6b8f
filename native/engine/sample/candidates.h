// The few tokens that truncation looks at, and top_k, top_p and min_p over them.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace npr::sample {

// Tokens in ascending order of id, with their logits and, once weigh() ran, exp((logit - max) * scale).
// The truncations never sort more than one bucket of weights, and keep the order of ids.
// Thread safety: one thread at a time.
class Candidates {
 public:
  void clear();
  // Adds the tokens first, first + 1, ... whose logits are finite and at least `threshold`.
  void add(int32_t first, std::span<const float> logits, float threshold);
  // Adds a token whose logit is finite.
  void add(int32_t token, float logit) { add(token, {&logit, 1}, std::numeric_limits<float>::lowest()); }

  size_t size() const { return tokens_.size(); }
  int32_t token(size_t i) const { return tokens_[i]; }
  float logit(size_t i) const { return logits_[i]; }
  float weight(size_t i) const { return weights_[i]; }
  bool holds(int32_t token) const;
  float max() const;  // the largest logit; -inf where there are none

  void keep_top_k(uint32_t k);  // the k largest logits; among equals lower ids first
  void weigh(float max, float scale);
  double total_weight() const;
  // The smallest set whose weight reaches p * total, at least one token; among equals lower ids first.
  void keep_top_p(double p, double total);
  void keep_weight(float least);
  size_t pick(double target) const;  // as Pick does

  // The n largest logits, falling, among equals lower ids first.
  void top(uint32_t n, std::vector<std::pair<int32_t, float>>& out);

 private:
  template <class Keep>
  void filter(Keep&& keep);
  void rank();  // keys_[i]: orders by logit, then by lower id

  std::vector<int32_t> tokens_;
  std::vector<float> logits_;
  std::vector<float> weights_;  // [size rounded up to 16]
  std::vector<uint64_t> keys_;
  std::vector<double> masses_;
};

// The first index at which a running sum of weights exceeds a target; the last of any weight where none does.
class Pick {
 public:
  explicit Pick(double target) : target_(target) {}
  // Takes the weights that follow; true once more can't change the index.
  bool add(std::span<const float> weights);
  size_t index() const { return last_; }

 private:
  double target_, sum_ = 0;
  size_t seen_ = 0, last_ = 0;
};

}  // namespace npr::sample
