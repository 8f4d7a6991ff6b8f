// What is trained, and how the engine's weights follow from it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/parameters.h"
#include "train/lora_options.h"
#include "train/trained_arrays.h"

namespace npr::train {

// Collects gradients as the backward's sink. As long as nobody else writes the engine's weights, they are what the
// masters say, rounded to the nearest bf16, ties to even: norms, too, which the engine holds as floats.
// Thread safety: one thread at a time; the model and its backend are used inside calls.
class ParameterStore : public model::GradientSink {
 public:
  // Numbers [begin, end) of the trained arrays.
  struct Range {
    size_t begin = 0, end = 0;
  };
  // A tensor that is not trained but that the engine's weights are made of: rows of a matrix of the backend.
  struct Frozen {
    model::TensorSpec spec;
    compute::Matrix* matrix;
    uint32_t first_row;
  };

  compute::Backend& backend() const { return backend_; }
  TrainedArrays& arrays() { return arrays_; }
  uint32_t parameters() const { return static_cast<uint32_t>(parameters_.size()); }
  // What parameter `index` of the model trains; empty: nothing.
  virtual Range trained(uint32_t index) const = 0;
  // Makes the engine's weights of a parameter that trains something anew. Throws Error(invalid_checkpoint) where they
  // would not be finite.
  virtual void apply(uint32_t index) = 0;
  // Drops what a backward that broke off has left between array() and done().
  virtual void forget() {}
  // All of the matrices that hold one, each matrix's rows in order.
  virtual std::vector<Frozen> frozen() { return {}; }
  // "full", or what LoRA trains, in words.
  virtual std::string description() const = 0;

 protected:
  ParameterStore(model::Model& model, std::span<const model::TensorSpec> tensors);

  compute::Backend& backend_;
  const std::vector<model::Parameter> parameters_;
  TrainedArrays arrays_;
};

// All of the model's parameters, or with `lora` two thin factors for each of its targets. Masters start as what the
// engine holds, so that its weights stay as they are, but for norms of a checkpoint in float, which are rounded.
// The model must outlive the store. Throws Error(invalid_request) where its weights can't be trained or an option makes
// no sense, Error(out_of_memory).
std::unique_ptr<ParameterStore> make_parameter_store(model::Model& model, const std::optional<LoraOptions>& lora);

}  // namespace npr::train
