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

inline std::vector<float> download(npr::compute::Backend& backend, const float* device, size_t count) {
  std::vector<float> out(count);
  backend.download(device, out);
  return out;
}

// The engine's weights of a parameter [rows, columns].
inline std::vector<float> engine_weights(npr::model::Model& model, const npr::model::Parameter& parameter) {
  auto& backend = model.backend();
  if (!parameter.matrix) return download(backend, parameter.vector, parameter.rows);
  std::vector<int32_t> rows(parameter.rows);
  for (uint32_t i = 0; i < parameter.rows; ++i) rows[i] = static_cast<int32_t>(i);
  const auto memory = std::static_pointer_cast<float>(backend.allocate(parameter.size() * sizeof(float)));
  backend.embed(rows, *parameter.matrix, memory.get());
  return download(backend, memory.get(), parameter.size());
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
    for (uint32_t p = 0; p < store->parameters(); ++p) {
      add_gradient(p, [&] { return random.uniform(); });
      store->done(p);
    }
  }
  // Adds next(), number by number, to what the parameter's gradient is so far; nothing where it is not trained.
  template <class Next>
  void add_gradient(uint32_t parameter, const Next& next) {
    float* const gradient = store->array(parameter);
    if (!gradient) return;
    auto values = download(model.backend(), gradient, npr::model::parameters(model)[parameter].size());
    for (float& value : values) value += next();
    model.backend().upload(gradient, values);
  }
  npr::train::StepReport random_step(uint64_t seed) {
    random_gradients(seed);
    return optimizer.step(1e-2);
  }

  std::vector<float> masters() const { return all(store->arrays().masters()); }
  std::vector<float> gradients() const { return all(store->arrays().gradients()); }
  std::vector<float> first_moments() const { return all(store->arrays().first_moments()); }
  std::vector<float> second_moments() const { return all(store->arrays().second_moments()); }
  void set_gradients(std::span<const float> values) { store->backend().upload(store->arrays().gradients(), values); }

 private:
  std::vector<float> all(const float* device) const {
    return download(store->backend(), device, store->arrays().size());
  }
};

// Bits of everything that the next step depends on.
inline bool same_state(const Trained& a, const Trained& b) {
  return a.masters() == b.masters() && a.first_moments() == b.first_moments() &&
         a.second_moments() == b.second_moments() && a.optimizer.steps() == b.optimizer.steps();
}

}  // namespace test
