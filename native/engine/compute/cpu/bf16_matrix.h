// Weights as bf16.
#pragma once
#include "compute/cpu/packed_matrix.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// Thread safety: immutable once made.
class Bf16Matrix : public PackedMatrix {
 public:
  Bf16Matrix(std::span<const HostRows> parts, uint32_t k, const Kernels& kernels, ThreadPool& pool);
  void unpack_row(uint32_t row, float* out) const override;
};

}  // namespace npr::compute
