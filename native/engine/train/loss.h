// Losses over the log-probabilities of given tokens.
#pragma once
#include <cstdint>

namespace npr::train {

// Of a token with weight w and r = exp(logp - logp at sampling):
// likelihood: -w logp.
// clipped: -min(r w, clip(r, 1 - low, 1 + high) w), or where w < 0 -max(that minimum, dual w): the asymmetric clip of
// DAPO (arXiv 2503.14476) with the dual clip of arXiv 1912.09729.
struct Loss {
  enum class Kind : uint8_t { likelihood, clipped };
  Kind kind = Kind::likelihood;
  float low = 0.2f, high = 0.28f, dual = 10;
};

// Throws Error(invalid_request) where the clip's bounds make no sense.
void validate(const Loss& loss);

struct Term {
  double value = 0;
  double slope = 0;      // d value / d logp
  bool clipped = false;  // constant in logp because of a clip
};

// A token that the policy now leaves out (logp = -inf) has no slope, and under `likelihood` no value.
Term term(const Loss& loss, float weight, float logp, float old_logp);

}  // namespace npr::train
