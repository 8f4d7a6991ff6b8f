// A weight matrix as the kernels read it.
#pragma once
#include <cstdint>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// bf16 [ceil(n / panel_columns)][k / 2][panel_columns][2], zeros past n.
// Thread safety: immutable once made.
class PackedMatrix : public Matrix {
 public:
  // Throws Error(invalid_checkpoint) for an empty matrix or an odd k, Error(out_of_memory).
  PackedMatrix(std::span<const HostRows> parts, uint32_t k, ThreadPool& pool);

  uint32_t n() const override { return n_; }
  uint32_t k() const override { return k_; }
  uint32_t panels() const { return (n_ + panel_columns - 1) / panel_columns; }
  const bf16* panel(uint32_t index) const { return data_.as<bf16>() + index * panel_size(); }
  // Row `row` of the matrix, as floats.
  void unpack_row(uint32_t row, float* out) const;

 private:
  size_t panel_size() const { return size_t{k_} * panel_columns; }

  uint32_t n_ = 0, k_;
  Pages data_;
};

}  // namespace npr::compute
