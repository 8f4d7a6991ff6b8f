#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"
#include "train/number_text.h"

namespace npr::train {
namespace {

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
    : ops_(backend.backward()), store_(store), options_(options) {
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
  const auto constants = adamw_step(options_.adamw, learning_rate, ++steps_, scale);
  const TrainedArrays& arrays = store_.arrays();
  for (uint32_t index = 0; index < store_.parameters(); ++index) {
    const auto [begin, end] = store_.trained(index);
    if (begin == end) continue;
    ops_.adamw(constants, end - begin, arrays.masters() + begin, arrays.gradients() + begin,
               arrays.first_moments() + begin, arrays.second_moments() + begin);
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
  ops_.zero(store_.arrays().gradients(), store_.arrays().size());
}

double Optimizer::gradient_norm() const {
  return std::sqrt(ops_.sum_of_squares(store_.arrays().gradients(), store_.arrays().size()));
}

}  // namespace npr::train
