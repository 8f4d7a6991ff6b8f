#include "train/parameter_store.h"

#include "compute/backward.h"
#include "train/full_parameters.h"
#include "train/lora_parameters.h"

namespace npr::train {

ParameterStore::ParameterStore(model::Model& model, std::span<const model::TensorSpec> tensors)
    : backend_(model.backend()), parameters_(model::parameters(model)), arrays_(backend_, tensors) {
  backend_.backward();  // throws where these weights can't be trained
}

std::unique_ptr<ParameterStore> make_parameter_store(model::Model& model, const std::optional<LoraOptions>& lora) {
  if (lora) return std::make_unique<LoraParameters>(model, *lora);
  return std::make_unique<FullParameters>(model);
}

}  // namespace npr::train
