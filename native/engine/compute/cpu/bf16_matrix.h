// Weights as bf16.
#pragma once
#include "compute/cpu/packed_matrix.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// Thread safety: readers and fill() exclude each other.
class Bf16Matrix : public PackedMatrix {
 public:
  Bf16Matrix(std::span<const HostRows> parts, uint32_t k, const Kernels& kernels, ThreadPool& pool);
  // New contents: rows as those it was made of, in any types. Throws Error(invalid_checkpoint) where a value is NaN,
  // infinite, or so large that it is infinite as bf16; the contents are then neither the old nor the new.
  void fill(std::span<const HostRows> parts, const Kernels& kernels, ThreadPool& pool);
  void unpack_row(uint32_t row, float* out) const override;
};

}  // namespace npr::compute
