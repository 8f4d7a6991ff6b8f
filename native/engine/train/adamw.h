// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), in the operations of torch.optim.AdamW.
#pragma once
#include <cstdint>

#include "compute/backward.h"

namespace npr::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double epsilon = 1e-8;      // outside the root
  double weight_decay = 0.1;  // decoupled, on every tensor
};

// `step` counts from 1.
compute::AdamWStep adamw_step(const AdamWOptions& options, double learning_rate, uint64_t step, double gradient_scale);

}  // namespace npr::train
