#include "train/adamw.h"

#include <cmath>

namespace npr::train {
namespace {

// Without aliasing and errno (CMakeLists.txt), the loop vectorizes for any machine; every operation rounds once, so
// that all machines agree.
void update(const AdamWStep& s, size_t n, float* __restrict master, float* __restrict gradient, float* __restrict first,
            float* __restrict second) {
  for (size_t i = 0; i < n; ++i) {
    const float g = gradient[i] * s.gradient_scale;
    const float m = first[i] + s.weight1 * (g - first[i]);
    const float v = s.beta2 * second[i] + s.weight2 * g * g;
    const float denominator = std::sqrt(v) / s.root_of_correction2 + s.epsilon;
    master[i] = master[i] * s.keep - s.step_size * m / denominator;
    first[i] = m;
    second[i] = v;
    gradient[i] = 0;
  }
}

}  // namespace

AdamWStep::AdamWStep(const AdamWOptions& options, double learning_rate, uint64_t step, double scale)
    : gradient_scale(static_cast<float>(scale)),
      keep(static_cast<float>(1 - learning_rate * options.weight_decay)),
      weight1(static_cast<float>(1 - options.beta1)),
      beta2(static_cast<float>(options.beta2)),
      weight2(static_cast<float>(1 - options.beta2)),
      step_size(static_cast<float>(learning_rate / (1 - std::pow(options.beta1, static_cast<double>(step))))),
      root_of_correction2(static_cast<float>(std::sqrt(1 - std::pow(options.beta2, static_cast<double>(step))))),
      epsilon(static_cast<float>(options.epsilon)) {}

void adamw(const AdamWStep& step, std::span<float> masters, std::span<float> gradients, std::span<float> first_moments,
           std::span<float> second_moments) {
  update(step, masters.size(), masters.data(), gradients.data(), first_moments.data(), second_moments.data());
}

double sum_of_squares(std::span<const float> numbers) {
  double sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= numbers.size(); i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += double{numbers[i + lane]} * numbers[i + lane];
  }
  for (size_t lane = 0; i < numbers.size(); ++i, ++lane) sums[lane] += double{numbers[i]} * numbers[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace npr::train
