#include "train/trained_arrays.h"

namespace npr::train {

TrainedArrays::TrainedArrays(compute::Backend& backend, std::span<const model::TensorSpec> tensors) {
  for (const model::TensorSpec& spec : tensors) {
    tensors_.push_back({spec, size_, spec.numbers()});
    size_ += spec.numbers();
  }
  for (auto& memory : memory_) memory = backend.allocate(size_ * sizeof(float));
}

}  // namespace npr::train
