#include "train/adamw.h"

#include <cmath>

namespace npr::train {

compute::AdamWStep adamw_step(const AdamWOptions& options, double learning_rate, uint64_t step, double gradient_scale) {
  const auto steps = static_cast<double>(step);
  return {.gradient_scale = static_cast<float>(gradient_scale),
          .keep = static_cast<float>(1 - learning_rate * options.weight_decay),
          .weight1 = static_cast<float>(1 - options.beta1),
          .beta2 = static_cast<float>(options.beta2),
          .weight2 = static_cast<float>(1 - options.beta2),
          .step_size = static_cast<float>(learning_rate / (1 - std::pow(options.beta1, steps))),
          .root_of_correction2 = static_cast<float>(std::sqrt(1 - std::pow(options.beta2, steps))),
          .epsilon = static_cast<float>(options.epsilon)};
}

}  // namespace npr::train
