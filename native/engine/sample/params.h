// What a request asks of sampling.
#pragma once
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
};

}  // namespace npr::sample
