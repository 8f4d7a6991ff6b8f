#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "error.h"
#include "train/number_text.h"

namespace npr::train {
namespace {

constexpr size_t chunk = 1 << 14;  // numbers a task: its four arrays fit a core's cache

uint32_t chunks(size_t size) { return static_cast<uint32_t>((size + chunk - 1) / chunk); }

void require(bool holds, const char* name, const char* expected, double found) {
  if (!holds)
    throw Error(ErrorCode::invalid_request,
                std::string(name) + ": expected " + expected + ", found " + number_text(found));
}

// Squares of gradients are floats: beyond this a second moment would be infinite, and its number stand still for ever.
constexpr double most_norm = 1e18;

// Steps compute in float: what overflows it would make infinite weights.
bool as_float(double x) { return std::isfinite(static_cast<float>(x)); }

}  // namespace

Optimizer::Optimizer(compute::Backend& backend, ParameterStore& store, const OptimizerOptions& options)
    : backend_(backend), store_(store), options_(options) {
  const auto& [beta1, beta2, epsilon, decay] = options.adamw;
  require(beta1 >= 0 && beta1 < 1, "beta1", "a number from 0 to below 1", beta1);
  require(beta2 >= 0 && beta2 < 1, "beta2", "a number from 0 to below 1", beta2);
  require(static_cast<float>(epsilon) > 0 && as_float(epsilon), "epsilon", "a number above 0 that a float can hold",
          epsilon);
  require(decay >= 0 && as_float(decay), "weight decay", "a number from 0 on that a float can hold", decay);
  require(options.clip_norm >= 0 && std::isfinite(options.clip_norm), "clip norm", "a number from 0 on",
          options.clip_norm);
}

StepReport Optimizer::step(double learning_rate) {
  require(learning_rate >= 0 && as_float(learning_rate), "learning rate", "a number from 0 on that a float can hold",
          learning_rate);
  if (broken_)
    throw Error(ErrorCode::invalid_request,
                "an optimizer step broke off and left weights of two steps; load a state first");
  const double norm = gradient_norm();
  const double scale = options_.clip_norm > 0 ? std::min(1.0, options_.clip_norm / (norm + 1e-6)) : 1.0;
  if (!(norm * scale < most_norm)) {
    discard();
    return {norm, false};
  }
  broken_ = true;
  const AdamWStep constants(options_.adamw, learning_rate, ++steps_, scale);
  const TrainedArrays& arrays = store_.arrays();
  for (uint32_t index = 0; index < store_.parameters(); ++index) {
    const auto [begin, end] = store_.trained(index);
    if (begin == end) continue;
    backend_.parallel(chunks(end - begin), [&](uint32_t task) {
      const size_t first = begin + task * chunk, count = std::min(chunk, end - first);
      adamw(constants, arrays.masters().subspan(first, count), arrays.gradients().subspan(first, count),
            arrays.first_moments().subspan(first, count), arrays.second_moments().subspan(first, count));
    });
    store_.apply(index);  // at once: its masters are still in the cache
  }
  broken_ = false;
  return {norm, true};
}

void Optimizer::resume(uint64_t steps) {
  steps_ = steps;
  broken_ = false;
  discard();
}

void Optimizer::discard() {
  store_.forget();
  const auto gradients = store_.arrays().gradients();
  backend_.parallel(chunks(gradients.size()), [&](uint32_t task) {
    const size_t first = task * chunk;
    std::fill_n(gradients.begin() + static_cast<ptrdiff_t>(first), std::min(chunk, gradients.size() - first), 0.0f);
  });
}

double Optimizer::gradient_norm() const {
  const std::span<const float> gradients = store_.arrays().gradients();
  std::vector<double> sums(chunks(gradients.size()));
  backend_.parallel(static_cast<uint32_t>(sums.size()), [&](uint32_t task) {
    const size_t first = task * chunk;
    sums[task] = sum_of_squares(gradients.subspan(first, std::min(chunk, gradients.size() - first)));
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace npr::train
