// The weights of a backend's matrices as the bf16 numbers that they are.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "compute/backend.h"

namespace npr::model {

// Reads a megabyte or so at a time, in memory that one matrix after another uses.
// Thread safety: one thread at a time, which uses the backend.
class MatrixRows {
 public:
  using Take = std::function<void(std::span<const uint16_t>)>;

  explicit MatrixRows(compute::Backend& backend) : backend_(backend) {}

  // take(numbers) for rows [first, first + count), some whole rows at a time, in order.
  void read(const compute::Matrix& matrix, uint32_t first, uint32_t count, const Take& take);
  // take(numbers) for a device array of floats, rounded.
  void round(const float* device, uint32_t count, const Take& take);

 private:
  compute::Backend& backend_;
  std::shared_ptr<void> memory_;
  size_t floats_ = 0;  // that `memory_` holds
  std::vector<uint16_t> rounded_;
};

}  // namespace npr::model
