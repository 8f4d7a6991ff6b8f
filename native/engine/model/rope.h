// Rotary position settings of config.json, plain or YaRN (arXiv 2309.00071), and the frequencies they give.
#pragma once
#include <cstdint>
#include <optional>

#include "compute/backend.h"
#include "model/fields.h"

namespace npr::model {

// Positions beyond this are no longer exact in float.
inline constexpr uint32_t most_positions = 1u << 24;

// Frequencies that turn less than `beta_slow` times within the original context are divided by `factor`, those that
// turn more than `beta_fast` times stay, those between are mixed.
struct Yarn {
  double factor = 1;
  uint32_t original_max_position_embeddings = 0;
  double beta_fast = 32, beta_slow = 1;
  double attention_factor = 1;  // scales cosine and sine
  bool truncate = true;         // widen the range of mixed frequencies to whole ones
};

struct RopeSettings {
  double theta = 0;
  std::optional<Yarn> yarn;

  // Angles as Hugging Face transformers computes them, in float.
  compute::Rope rope(uint32_t head_dim) const;
};

// Reads `rope_theta` and `rope_scaling` or `rope_parameters` of config.json. Throws Error(invalid_checkpoint), also for
// other kinds than default and yarn.
RopeSettings read_rope(const Fields& config, uint32_t max_position_embeddings);

}  // namespace npr::model
