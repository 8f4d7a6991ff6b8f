// A given token under the policy that it was sampled from: its log-probability, and the gradient of that.
#pragma once
#include <cstdint>
#include <optional>

#include "sample/distribution.h"

namespace npr::sample {

// Thread safety: as the scratch, which it lies in until that is used again.
class Policy {
 public:
  // The distribution that sample() draws from; logprob() has the bits of Sampled::policy_logprob. Throws as that does.
  Policy(const Row& row, Scratch& scratch);
  // Softmax of the raw logits [vocab]; logprob() has the bits of score(). Throws as that does.
  Policy(const float* logits, uint32_t vocab, Scratch& scratch);

  // Natural logarithm of the token's probability; -inf where the policy leaves it out; 0 at temperature 0.
  float logprob(int32_t token) const;
  double entropy() const;  // in nats
  // logits [vocab], the ones that the policy was made from, become coefficient * d logprob(token) / d logits, through
  // temperature, penalties and mask; what truncation keeps is held fixed. All zero where the policy leaves the token
  // out, and at temperature 0. Returns the entropy, as that is then at no cost; the policy is gone.
  double differentiate(int32_t token, float coefficient, float* logits) const;

 private:
  Scratch& scratch_;  // slopes: d processed / d raw logit of the tokens that have a penalty, which multiply
  uint32_t vocab_;
  std::optional<Distribution> distribution_;  // none at temperature 0
};

}  // namespace npr::sample
