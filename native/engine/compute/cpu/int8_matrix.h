// Weights as int8 with a scale for every output.
#pragma once
#include "compute/cpu/packed_matrix.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// A weight is about scale * value, value in -127 .. 127; its byte holds value + the kernels' bias.
// Thread safety: immutable once made.
class Int8Matrix : public PackedMatrix {
 public:
  Int8Matrix(std::span<const HostRows> parts, uint32_t k, const Kernels& kernels, ThreadPool& pool);
  const float* scales() const override { return scales_.as<float>(); }
  void unpack_row(uint32_t row, float* out) const override;

 private:
  int32_t bias_;
  Pages scales_;  // [n]
};

}  // namespace npr::compute
