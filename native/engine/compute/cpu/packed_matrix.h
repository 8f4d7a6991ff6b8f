// A weight matrix as the kernels read it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "compute/backend.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/pages.h"

namespace npr::compute {

// One row of the host arrays that a matrix is made of.
struct HostRow {
  const void* data;  // [k]
  DType dtype;
};

// Panels one after another, in the format of some kernels. A subclass fills them.
// Thread safety: immutable once made.
class PackedMatrix : public Matrix {
 public:
  uint32_t n() const override { return n_; }
  uint32_t k() const override { return k_; }
  uint32_t panels() const { return (n_ + panel_columns - 1) / panel_columns; }
  const LinearKernels& kernels() const { return kernels_; }
  const std::byte* panel(uint32_t index) const { return data_.as<std::byte>() + index * panel_bytes_; }
  size_t panel_bytes() const { return panel_bytes_; }
  // [n] of the outputs; null where the weights are not scaled.
  virtual const float* scales() const { return nullptr; }
  // Row `row` of the matrix, as floats.
  virtual void unpack_row(uint32_t row, float* out) const = 0;

 protected:
  // Zeros, `element_bytes` a weight. Throws Error(invalid_checkpoint) for an empty matrix or an odd k,
  // Error(out_of_memory).
  PackedMatrix(std::span<const HostRows> parts, uint32_t k, const LinearKernels& kernels, uint32_t element_bytes);

  // Throws Error(invalid_checkpoint) where it was found that not every weight is finite as bf16.
  static void require_finite(bool finite);
  // Where element i of a row lies, in elements from the matrix's begin.
  size_t index(uint32_t row, uint32_t i) const {
    const uint32_t depth = kernels_.depth;
    return row / panel_columns * (panel_bytes_ / element_bytes_) +
           (size_t{i / depth} * panel_columns + row % panel_columns) * depth + i % depth;
  }
  template <class T>
  T* elements() const {
    return data_.as<T>();
  }

 private:
  const LinearKernels& kernels_;
  uint32_t n_ = 0, k_, element_bytes_;
  size_t panel_bytes_ = 0;
  Pages data_;
};

// Row `row` of parts stacked along n.
HostRow host_row(std::span<const HostRows> parts, uint32_t row, uint32_t k);

}  // namespace npr::compute
