// What a forward step costs at least: bytes to read and operations to do, whatever the program.
#pragma once
#include <cstdint>

#include "compute/cpu/cpu_backend.h"
#include "model/config.h"

namespace npr::bench {

struct Cost {
  double bytes = 0;
  double flops = 0;
};

// One step in which `branches` branches add a token each: weights and the trunk's keys and values are read once for
// all, every branch's own keys and values once. `trunk`, `own`: tokens, `own` of each branch.
Cost decode_cost(const model::Config& config, compute::WeightFormat format, uint32_t branches, double trunk,
                 double own);

// A prompt of `tokens` tokens in one step, with the logits of its last token.
Cost prefill_cost(const model::Config& config, compute::WeightFormat format, uint32_t tokens);

}  // namespace npr::bench
