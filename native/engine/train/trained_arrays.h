// What AdamW keeps of every trained tensor: fp32 master weights, gradients and two moments.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "model/tensors.h"

namespace npr::train {

// The tensors lie one after another, in their order, in each of four arrays: 16 bytes a trained number.
// Thread safety: none of its own.
class TrainedArrays {
 public:
  struct Tensor {
    model::TensorSpec spec;
    size_t begin, size;  // its numbers, row-major, in each array
  };

  // All zero. Throws Error(out_of_memory).
  TrainedArrays(compute::Backend& backend, std::span<const model::TensorSpec> tensors);

  std::span<const Tensor> tensors() const { return tensors_; }
  size_t size() const { return size_; }
  // Device arrays [size].
  float* masters() const { return array(0); }
  float* gradients() const { return array(1); }
  float* first_moments() const { return array(2); }
  float* second_moments() const { return array(3); }

 private:
  float* array(size_t which) const { return static_cast<float*>(memory_[which].get()); }

  std::vector<Tensor> tensors_;
  size_t size_ = 0;
  std::shared_ptr<void> memory_[4];
};

}  // namespace npr::train
