// A model with its checkpoint gone, and what trains it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compute/support.h"
#include "compute/test_backend.h"
#include "model/checkpoint.h"
#include "model/model_directory.h"
#include "model/parameters.h"
#include "train/optimizer.h"

namespace test {

using npr::train::LoraOptions;
using npr::train::LoraTarget;
using npr::train::OptimizerOptions;

inline npr::model::Model load_model(const std::filesystem::path& directory, uint32_t threads = 1,
                                    npr::compute::WeightFormat weights = npr::compute::WeightFormat::bf16) {
  return {npr::model::Checkpoint(directory), support::make_test_backend({.threads = threads, .weights = weights}),
          uint64_t{1} << 20, 8};
}

// A random model of tiny_config().
class TinyDirectory : public TemporaryDirectory {
 public:
  explicit TinyDirectory(bool tied = true) { npr::model::write_random_checkpoint(path(), tiny_config(tied), 3); }
};

// The engine's weights of a parameter [rows, columns].
inline std::vector<float> engine_weights(npr::model::Model& model, const npr::model::Parameter& parameter) {
  std::vector<float> out(parameter.size());
  if (!parameter.matrix) {
    const auto values = model.backend().host(parameter.vector, parameter.rows);
    return {values.begin(), values.end()};
  }
  std::vector<int32_t> rows(parameter.rows);
  for (uint32_t i = 0; i < parameter.rows; ++i) rows[i] = static_cast<int32_t>(i);
  model.backend().embed(rows, *parameter.matrix, out.data());
  return out;
}

inline std::vector<std::vector<float>> engine_weights(npr::model::Model& model) {
  std::vector<std::vector<float>> out;
  for (const auto& parameter : npr::model::parameters(model)) out.push_back(engine_weights(model, parameter));
  return out;
}

struct Trained {
  npr::model::Model model;
  std::unique_ptr<npr::train::ParameterStore> store;
  npr::train::Optimizer optimizer;

  explicit Trained(const std::filesystem::path& directory, const std::optional<LoraOptions>& lora = {},
                   const OptimizerOptions& options = {}, uint32_t threads = 1)
      : model(load_model(directory, threads)),
        store(npr::train::make_parameter_store(model, lora)),
        optimizer(model.backend(), *store, options) {}

  // As a backward pass would: adds random gradients to every parameter that is trained.
  void random_gradients(uint64_t seed) {
    support::Random random(seed);
    const auto parameters = npr::model::parameters(model);
    for (uint32_t p = 0; p < parameters.size(); ++p) {
      float* gradient = store->array(p);
      if (!gradient) continue;
      for (size_t i = 0; i < parameters[p].size(); ++i) gradient[i] += random.uniform();
      store->done(p);
    }
  }
  npr::train::StepReport random_step(uint64_t seed) {
    random_gradients(seed);
    return optimizer.step(1e-2);
  }
};

template <class Range>
std::vector<float> copy(const Range& range) {
  return {range.begin(), range.end()};
}

// Bits of everything that the next step depends on.
inline bool same_state(const Trained& a, const Trained& b) {
  const auto &x = a.store->arrays(), &y = b.store->arrays();
  return copy(x.masters()) == copy(y.masters()) && copy(x.first_moments()) == copy(y.first_moments()) &&
         copy(x.second_moments()) == copy(y.second_moments()) && a.optimizer.steps() == b.optimizer.steps();
}

}  // namespace test
