// A weight matrix as the kernels read it.
#pragma once
#include <cstdint>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/pages.h"
#include "compute/cpu/thread_pool.h"

namespace npr::compute {

// bf16 [ceil(n / columns)][k / 2][columns][2]: panels of `columns` outputs, zeros past n.
// Thread safety: immutable once made.
class PackedMatrix : public Matrix {
 public:
  // Throws Error(invalid_checkpoint) for an empty matrix or an odd k, Error(out_of_memory).
  PackedMatrix(std::span<const HostRows> parts, uint32_t k, uint32_t columns, ThreadPool& pool);

  uint32_t n() const override { return n_; }
  uint32_t k() const override { return k_; }
  uint32_t columns() const { return columns_; }
  uint32_t panels() const { return (n_ + columns_ - 1) / columns_; }
  const bf16* panel(uint32_t index) const { return data_.as<bf16>() + index * panel_size(); }
  // Row `row` of the matrix, as floats.
  void unpack_row(uint32_t row, float* out) const;

 private:
  size_t panel_size() const { return size_t{k_} * columns_; }

  uint32_t n_ = 0, k_, columns_;
  Pages data_;
};

}  // namespace npr::compute
