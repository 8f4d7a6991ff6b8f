// Draws one token from one row of logits.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "sample/distribution.h"

namespace npr::sample {

struct Sampled {
  int32_t token = 0;
  float logprob = 0;         // log-softmax of the raw logits, where asked for
  float policy_logprob = 0;  // under the distribution sampled from; 0 for greedy
  std::vector<std::pair<int32_t, float>>
      top;  // raw, falling; among equals lower ids first; fewer where fewer are finite
};

// Takes the inverse of the cumulative distribution at the row's random number; at temperature 0 the largest processed
// logit.
// Throws Error(internal) where no token that the mask allows has a finite logit.
// Thread safety: pure but for `scratch`.
Sampled sample(const Row& row, Scratch& scratch);

struct Score {
  float logprob = 0;  // log-softmax; -inf where the logit is not finite
  std::vector<std::pair<int32_t, float>> top;
};

// Scores a given token (of a prompt, or forced) with its `top` alternatives. Throws as sample() does.
Score score(const float* logits, uint32_t vocab, int32_t token, uint32_t top, Scratch& scratch);

}  // namespace npr::sample
