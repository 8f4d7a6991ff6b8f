// Which matrices LoRA trains, and how.
#pragma once
#include <cstdint>
#include <vector>

namespace npr::train {

// The projections of queries, keys, values and the attention's output, and the three of the MLP, in every layer.
enum class LoraTarget { q, k, v, o, gate, up, down };

struct LoraOptions {
  uint32_t rank;
  double alpha;  // W = W0 + alpha / rank B A
  std::vector<LoraTarget> targets;
  uint64_t seed;  // of A's first values
};

}  // namespace npr::train
