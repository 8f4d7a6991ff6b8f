// What a request asks of sampling.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace npr::sample {

struct Params {
  float temperature = 1.0f;  // 0: greedy, the lowest id among equals
  float top_p = 1.0f;
  uint32_t top_k = 0;  // 0: off
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  float branch_repetition_penalty = 1.0f;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;

  // What logits are multiplied by at a temperature above 0.
  float scale() const { return std::min(1.0f / temperature, 1e30f); }
  // Whether some tokens are left out for what they weigh: at temperature 0 nothing is weighed.
  bool truncates() const { return temperature > 0.0f && (top_k > 0 || top_p < 1.0f || min_p > 0.0f); }
  // Whether logits change with the tokens so far.
  bool penalizes() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f ||
           branch_repetition_penalty != 1.0f;
  }
};

}  // namespace npr::sample
