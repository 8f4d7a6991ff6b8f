// What is trained on: responses to one prompt.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "request.h"

namespace npr::train {

// A response behind its group's prompt, in flat order, sampled end tokens included.
struct Trajectory {
  std::vector<int32_t> tokens;
  std::vector<float> weights;       // [tokens] its share of the loss; 0: none, as for a forced one with a request
  std::vector<uint8_t> forced;      // [tokens] 1 where the engine chose the token; needed with a request
  std::vector<float> old_logprobs;  // [tokens] at sampling, 0 where forced; empty where unknown
  uint32_t choice = 0;              // which of its request's samples it is
};

struct Group {
  std::vector<int32_t> prompt;
  std::vector<Trajectory> trajectories;
  // What they were sampled with: the loss is over that policy. Without one it is over the softmax of raw logits.
  std::optional<Request> request;
  bool parallel = false;  // without a request: structure is read in assistant turns
};

}  // namespace npr::train
