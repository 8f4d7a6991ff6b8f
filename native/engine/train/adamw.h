// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), in the operations of torch.optim.AdamW.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace npr::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double epsilon = 1e-8;      // outside the root
  double weight_decay = 0.1;  // decoupled, on every tensor
};

// The constants of one step, as fp32 arithmetic takes them.
struct AdamWStep {
  // `step` counts from 1. Gradients are multiplied by `gradient_scale` first.
  AdamWStep(const AdamWOptions& options, double learning_rate, uint64_t step, double gradient_scale);

  float gradient_scale, keep, weight1, beta2, weight2, step_size, root_of_correction2, epsilon;
};

// Updates masters and moments of the same numbers, and clears their gradients. What one number becomes depends on
// itself alone. Memory bound: reads 16 bytes a number and writes as many.
void adamw(const AdamWStep& step, std::span<float> masters, std::span<float> gradients, std::span<float> first_moments,
           std::span<float> second_moments);

// The sum of squares, in double and in one order; not finite where a number is not.
double sum_of_squares(std::span<const float> numbers);

}  // namespace npr::train
